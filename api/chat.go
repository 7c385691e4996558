package api

import (
	"context"
	"fmt"
	"net/http"
	"unicode/utf8"

	"mixdown/mixer"
	"mixdown/mixer/video"
)

// Chat is the data of chat.
type Chat struct {
	From string `json:"from" doc:"The participant who wrote it"`
	Name string `json:"name" doc:"What he was called then"`
	Text string `json:"text" doc:"On one line; to be shown as text, never as markup"`
	To   string `json:"to" doc:"The participant whom it is for; empty is everybody"`
}

// ChatMessage is what a client has to say.
type ChatMessage struct {
	Text string `json:"text" required:"true" doc:"1 to 2000 characters, on one line: controls and what turns the direction of writing are taken out"`
	To   string `json:"to" required:"false" maxLength:"64" doc:"A participant; only he and the author are told. Empty is everybody"`
}

const (
	// maxChatRunes bounds a text.
	maxChatRunes = 2000
	// A participant may write chatBurst texts at once, and chatsPerSecond on
	// average: all others have to read them.
	chatBurst      = 10
	chatsPerSecond = 2
)

// say tells the room, or one in it, what the session's participant has written.
func (s *Server) say(ctx context.Context, x *session, m ChatMessage) error {
	if x.who.Mute.Writing {
		return forbidden("the token does not grant canPublishData")
	}
	text := video.CleanText(m.Text)
	if n := utf8.RuneCountInString(text); n < 1 || n > maxChatRunes {
		return invalid("", Fault{Pointer: "#/text", Detail: fmt.Sprintf("%d characters, without those that are taken out: want 1 to %d", n, maxChatRunes)})
	}
	if !x.chats.Allow() {
		return tooManyChats.problem("slow down")
	}
	return x.now().Say(ctx, text, mixer.ParticipantID(m.To))
}

func (s *Server) chatRoutes() {
	register(s, operation{
		id: "session-chat", method: http.MethodPost, path: "/v1/sessions/{secret}/chat",
		summary: "Write to the session's room, for clients without a data channel or a WebSocket",
		need:    static(UseSession), body: ChatMessage{}, experimental: true,
	}, func(ctx context.Context, in *struct {
		Secret string `path:"secret" doc:"From the Location of a join"`
	}) (*empty, error) {
		x, err := s.sessions.find(in.Secret)
		if err != nil {
			return nil, err
		}
		var m ChatMessage
		if err := s.put(ctx, &m, nil); err != nil {
			return nil, s.told(ctx, err)
		}
		if err := s.say(ctx, x, m); err != nil {
			return nil, s.told(ctx, err)
		}
		return nil, nil
	})
}
