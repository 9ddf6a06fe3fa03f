package httpapi

import (
	"context"
	"net/http"

	"hearth/domain"
	"hearth/transport/wire"
)

const userTag = "Users"

func (a *api) addUsers() {
	register(a, route{
		method: http.MethodGet, path: "/v1/presence", id: "getPresence", tag: userTag,
		summary:     "Who is there",
		description: "`?user=a&user=b`, at most 200.",
		errors:      []domain.Code{domain.CodeTooLarge},
	}, a.getPresence)
	register(a, route{
		method: http.MethodDelete, path: "/v1/users/{u}/connections", id: "kickUser", tag: userTag,
		summary: "End a user's connections",
		description: "For app servers: all connections that the user has now, on whatever instance, are closed with 4503 " +
			"and do not come back by themselves. His token goes on being good.",
		errors: []domain.Code{domain.CodeForbidden},
	}, a.kickUser)
}

type presenceInput struct {
	Users []string `query:"user,explode" nullable:"false" required:"true" maxItems:"200" doc:"At most 200."`
}

// presence documents what wire.AppendUsers writes.
type presence struct {
	Users map[string]presenceOf `json:"users"`
}

type presenceOf struct {
	Online     bool     `json:"online"`
	Devices    []string `json:"devices" nullable:"false" doc:"Classes of the devices that are connected, as the tokens name them."`
	LastSeenMS int64    `json:"last_seen_ms,omitempty" doc:"When the last connection ended."`
}

func (a *api) getPresence(ctx context.Context, in *presenceInput) (*answer[rawJSON[presence]], error) {
	found, err := a.Sessions.Presence(ctx, "user", in.Users)
	if err != nil {
		return nil, err
	}
	return &answer[rawJSON[presence]]{Body: wire.AppendUsers(nil, found)}, nil
}

type kickInput struct {
	User string `path:"u"`
}

func (a *api) kickUser(ctx context.Context, in *kickInput) (*none, error) {
	return noContent(a.Sessions.Kick(ctx, actorOf(ctx), in.User))
}
