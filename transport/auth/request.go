package auth

import (
	"net/http"
	"strings"

	"hearth/domain"
	"hearth/transport/wire"
)

// QueryToken is the query parameter that carries a token where that is allowed.
const QueryToken = "access_token"

// FromRequest tells who sent an HTTP request, by its Authorization: Bearer with an API key or a user's token.
// For an app server the Claims are empty.
func (v *Verifier) FromRequest(r *http.Request) (domain.Actor, Claims, error) {
	token, err := bearer(r)
	if err != nil {
		return domain.Actor{}, Claims{}, err
	}
	if token == "" {
		return domain.Actor{}, Claims{}, noToken()
	}
	if id, ok := v.Key(token); ok {
		return domain.Actor{Key: id}, Claims{}, nil
	}
	claims, err := v.User(token)
	if err != nil {
		return domain.Actor{}, Claims{}, err
	}
	return domain.Actor{User: claims.User}, claims, nil
}

// UserFromUpgrade tells which user asks for a WebSocket. His token is taken from the first of: Authorization,
// the subprotocol hearth.token.<jwt>, and ?access_token= where that is allowed. API keys are for HTTP only.
func (v *Verifier) UserFromUpgrade(r *http.Request) (Claims, error) {
	token, err := bearer(r)
	if err != nil {
		return Claims{}, err
	}
	if token == "" {
		token = subprotocolToken(r)
	}
	if token == "" && v.queryToken {
		token = r.URL.Query().Get(QueryToken)
	}
	if token == "" {
		return Claims{}, noToken()
	}
	return v.User(token)
}

// bearer is the token in Authorization; "" without that header.
func bearer(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", nil
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	token = strings.TrimSpace(token)
	if len(headers) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", unauthorized("Authorization must be Bearer and one token", nil)
	}
	return token, nil
}

func subprotocolToken(r *http.Request) string {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(header, ",") {
			if token, ok := strings.CutPrefix(strings.TrimSpace(name), wire.TokenProtocolPrefix); ok {
				return token
			}
		}
	}
	return ""
}

func noToken() error { return unauthorized("a token is required", nil) }
