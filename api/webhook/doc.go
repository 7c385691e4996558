// Package webhook tells other people's servers of events, by the rules of
// Standard Webhooks 1.0 (standardwebhooks.com): each event is a POST, signed so
// that the receiver knows who sends, and sent again until it is taken.
//
//	s, err := webhook.New(webhook.Config{
//		Store:  state.Bucket("webhooks"),
//		Client: client, // of package outside
//		Endpoints: []webhook.Endpoint{{URL: "https://example.org/hook", Secrets: []webhook.Secret{secret}}},
//	})
//	...
//	go s.Run(ctx)
//	err = s.Add(events) // they are on the disk when it returns
//
// # What a receiver may rely on
//
// Events of one room come in order, one after the other: the next one is not
// sent before the one before it was taken, or given up. Those of different
// rooms overtake each other. Nothing that was added is lost when the process
// ends, however it does; what was being sent just then is sent again, with the
// same webhook-id, before what follows it. So the same event may come twice, and
// its id tells.
//
// An event is taken by a status of 2xx. Otherwise it is sent again after 1, 2,
// 4 s and so on, at most half an hour, each a quarter more or less, or after
// what Retry-After says; after Config.Attempts it is dead: counted, logged and
// forgotten. Who answers 410 is told nothing any more, until he is configured
// anew.
//
// # How it is put together
//
// The queue is on the disk; memory holds its keys, by endpoint and by room (a
// lane). Each endpoint has a few workers, so that one that does not answer holds
// up nobody but itself. A lane that has something to send is ready, belongs to
// a worker, or waits for its time. The queue of an endpoint is bounded: what
// comes when it is full is dropped and counted; since seq in the envelope has
// no gaps, the receiver notices.
package webhook
