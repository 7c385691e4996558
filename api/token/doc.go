// Package token makes and checks the tokens by which a server with keys knows
// who may do what.
//
// A key is an id and a secret. Whoever has it (the operator's own programs,
// `mixdown token`, LiveKit's server SDKs) makes tokens: JSON Web Tokens (RFC 7519)
// with LiveKit's claims, signed by HMAC-SHA256 with the secret and naming the
// key's id as their issuer:
//
//	keys, err := token.NewKeyring(map[string]string{"K7QK2M4XHNWE5A": secret})
//	text, err := keys.Mint(token.Claims{
//		Key: "K7QK2M4XHNWE5A", Subject: "ann", Expires: now.Add(time.Hour),
//		Video: token.Video{RoomJoin: true, Room: "standup"},
//	}, now)
//	claims, err := keys.Verify(text, now)
//
// A token is worth what its signature is, so a [Keyring] takes no chances: one
// algorithm, chosen by the key and never by the token; secrets of 32 bytes and
// more; an expiry always, at most [MaxLife] after the token was made; and what
// is not understood in the claims that are ours is refused, since it might have
// been a restriction. Of LiveKit's claims those that concern what mixdown does
// not have are passed over.
//
// What the claims allow is not decided here: see api.Keyed.
package token
