package api

import (
	"encoding/base64"
)

// List is one page of a list.
type List[T any] struct {
	Items         []T    `json:"items"`
	NextPageToken string `json:"nextPageToken" doc:"For the query parameter pageToken; empty on the last page"`
}

// ListQuery selects one page of a list.
type ListQuery struct {
	Limit     int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items at most"`
	PageToken string `query:"pageToken" maxLength:"256" doc:"nextPageToken of the page before"`
}

// page cuts one page out of all, which is sorted by id. The token is the last
// id of the page before, so that it stays good when items come and go.
func page[S, T any](all []S, q ListQuery, id func(S) string, show func(S) T) (List[T], error) {
	after := ""
	if q.PageToken != "" {
		b, err := base64.RawURLEncoding.DecodeString(q.PageToken)
		if err != nil || len(b) == 0 {
			return List[T]{}, badPageToken()
		}
		after = string(b)
	}
	list := List[T]{Items: []T{}}
	for i, item := range all {
		if id(item) <= after {
			continue
		}
		list.Items = append(list.Items, show(item))
		if len(list.Items) == q.Limit && i < len(all)-1 {
			list.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(id(item)))
			break
		}
	}
	return list, nil
}

func badPageToken() error {
	return invalid("", Fault{Parameter: "pageToken", Detail: "want the nextPageToken of the page before"})
}

// listOutput is a page as it is sent.
type listOutput[T any] struct {
	Tagged
	Body List[T]
}

// answer tags a page, or says that the client has it.
func answer[T any](list List[T], err error, when ReadIf) (*listOutput[T], error) {
	if err != nil {
		return nil, err
	}
	tag := entityTag(nil, list)
	if err := when.check(tag); err != nil {
		return nil, err
	}
	return &listOutput[T]{tagged(tag), list}, nil
}
