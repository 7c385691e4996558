package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"mixdown/mixer/layout"
)

// Arrangement is how a room is to arrange its picture.
type Arrangement struct {
	// Text is what was asked for.
	Text string
	// body is that as a PUT of the room's layout takes it.
	body json.RawMessage
	// own says that each who sends a picture gets a picture of his own.
	own bool
}

// arrangementForm is what the errors of ParseArrangement ask for.
const arrangementForm = "want MODE[,hideSelf][,noLabels][,noBorder][,noMarks][,fill][,limit=N], or JSON as /v1/rooms/{room}/layout takes it"

// ParseArrangement reads "single,hideSelf,noLabels", or JSON, which only the
// server looks at. Nothing is nil: a grid.
func ParseArrangement(text string) (*Arrangement, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if text[0] == '{' {
		var fields struct{ HideSelf bool }
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			return nil, fmt.Errorf("%w: %s", err, arrangementForm)
		}
		return &Arrangement{Text: text, body: json.RawMessage(text), own: fields.HideSelf}, nil
	}
	words := strings.Split(text, ",")
	spec := layout.Spec{Mode: layout.Mode(words[0])}
	body := map[string]any{"mode": words[0]}
	for _, word := range words[1:] {
		switch name, value, _ := strings.Cut(word, "="); name {
		case "hideSelf":
			spec.HideSelf, body[name] = true, true
		case "noLabels":
			body["labels"] = false
		case "noBorder":
			body["border"] = false
		case "noMarks":
			body["marks"] = false
		case "fill":
			body["fit"] = "fill"
		case "limit":
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, fmt.Errorf("limit %q is no number: %s", value, arrangementForm)
			}
			spec.Limit, body[name] = n, n
		default:
			return nil, fmt.Errorf("%q: %s", word, arrangementForm)
		}
	}
	if words[0] == string(layout.Custom) {
		return nil, errors.New("custom needs its tiles: give the layout as JSON")
	}
	if err := spec.Validate(); err != nil {
		return nil, fmt.Errorf("%w; %s", err, arrangementForm)
	}
	data, err := json.Marshal(body)
	return &Arrangement{Text: text, body: data, own: spec.HideSelf}, err
}

// json is the layout as the API takes it; nil for a grid.
func (a *Arrangement) json() json.RawMessage {
	if a == nil {
		return nil
	}
	return a.body
}

// text says what was asked for.
func (a *Arrangement) text() string {
	if a == nil {
		return ""
	}
	return a.Text
}

// personal reports whether participants have pictures of their own.
func (a *Arrangement) personal() bool { return a != nil && a.own }
