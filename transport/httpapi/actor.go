package httpapi

import (
	"context"
	"net/http"

	"hearth/domain"
)

type actorKey struct{}

// authenticate lets requests through that show a token or an API key.
func (a *api) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		actor, _, err := a.Auth.FromRequest(r)
		if err != nil {
			WriteError(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), actorKey{}, actor)))
	})
}

func actorOf(ctx context.Context) domain.Actor { return ctx.Value(actorKey{}).(domain.Actor) }

// actingFor is the actor of a request that names a user: an app server acts for anyone, a user for himself.
func actingFor(ctx context.Context, field, user string) (domain.Actor, error) {
	actor := actorOf(ctx)
	if user == "" {
		return actor, nil
	}
	if err := domain.CheckUser(field, user); err != nil {
		return domain.Actor{}, err
	}
	if actor.IsServer() {
		actor.User = user
	} else if user != actor.User {
		return domain.Actor{}, forbiddenFor(field)
	}
	return actor, nil
}

func forbiddenFor(field string) error {
	return &domain.Error{Code: domain.CodeForbidden, Field: field, Message: field + ": users act for themselves only"}
}
