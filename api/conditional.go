package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"

	"mixdown/mixer"
)

// ReadIf is the condition of a GET. It is exported, like the other parts of
// inputs and outputs here, because huma reads exported fields only.
type ReadIf struct {
	IfNoneMatch string `header:"If-None-Match" doc:"Answer 304 when the document still has one of these entity tags"`
}

// WriteIf is the condition of a write.
type WriteIf struct {
	IfMatch     string `header:"If-Match" doc:"Answer 412 unless what can be changed still is as under one of these entity tags"`
	IfNoneMatch string `header:"If-None-Match" doc:"With *: answer 412 when the resource exists"`
}

// entityTag makes the two halves of a tag: see the package comment. all is the
// document, wanted the part of it that a client can change.
func entityTag(wanted, all any) string { return `"` + digest(wanted) + "-" + digest(all) + `"` }

// digest is 48 bits of a value's JSON: a chance hit costs an edit or a missed
// refresh, and 48 bits make it one in 10^14.
func digest(v any) string {
	body, _ := json.Marshal(v) // our own types, which marshal
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:6])
}

// notModified is the answer 304, which huma takes as an error.
type notModified struct{ tag string }

func (notModified) Error() string  { return "not modified" }
func (notModified) GetStatus() int { return http.StatusNotModified }
func (n notModified) GetHeaders() http.Header {
	return http.Header{"Etag": {n.tag}, "Cache-Control": {"no-cache"}}
}

// check returns notModified when the client has the document already.
func (c ReadIf) check(tag string) error {
	if listed(c.IfNoneMatch, tag, wholeTag) {
		return notModified{tag}
	}
	return nil
}

// check returns 412 when a write's condition does not hold. tag is empty when
// the resource does not exist.
func (c WriteIf) check(tag string) error {
	failed := byKind[mixer.Precondition]
	if c.IfMatch != "" && (tag == "" || !listed(c.IfMatch, tag, wantedHalf)) {
		return failed.problem("If-Match: read the resource again")
	}
	if c.IfNoneMatch != "" && tag != "" && listed(c.IfNoneMatch, tag, wholeTag) {
		return failed.problem("If-None-Match: the resource exists")
	}
	return nil
}

// listed reports whether a header's list of tags has the tag, as far as part
// of it goes. Weak tags compare like strong ones in If-None-Match (RFC 9110
// section 13.1.2), and there are no weak ones of ours.
func listed(header, tag string, part func(string) string) bool {
	for t := range strings.SplitSeq(header, ",") {
		t = strings.TrimPrefix(strings.TrimSpace(t), "W/")
		if t == "*" || t != "" && part(t) == part(tag) {
			return true
		}
	}
	return false
}

func wholeTag(tag string) string { return tag }

func wantedHalf(tag string) string {
	wanted, _, _ := strings.Cut(strings.Trim(tag, `"`), "-")
	return wanted
}

// Tagged are the headers of a JSON answer.
type Tagged struct {
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
}

func tagged(tag string) Tagged { return Tagged{ETag: tag, CacheControl: "no-cache"} }
