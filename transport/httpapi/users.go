package httpapi

import (
	"context"
	"encoding/json"
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
	}, a.getPresence)
	register(a, route{
		method: http.MethodDelete, path: "/v1/users/{u}/connections", id: "kickUser", tag: userTag,
		summary: "End a user's connections",
		description: "For app servers: all connections that the user has now, on whatever instance, are closed with 4503 " +
			"and do not come back by themselves. His token goes on being good.",
		errors: []domain.Code{domain.CodeForbidden},
	}, a.kickUser)
	register(a, route{
		method: http.MethodPost, path: "/v1/groups/{g}/signals", id: "sendSignal", tag: messageTag,
		summary: "Send a signal",
		description: "To all connections that are subscribed now, such as that somebody is typing: without a seq, and " +
			"nothing is stored. An app server's `from` is `system` unless it names somebody.",
		errors: append([]domain.Code{domain.CodeMuted, domain.CodeStrangerLimit}, groupErrors...),
	}, a.sendSignal)
}

type presenceInput struct {
	Users []string `query:"user,explode" doc:"At most 200."`
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

type newSignal struct {
	Kind string          `json:"kind" doc:"1 to 64 bytes, such as typing."`
	Data json.RawMessage `json:"data,omitempty" doc:"Any JSON, at most 4 KiB."`
	From string          `json:"from,omitempty" doc:"For app servers: the sender; default system. A user may only name himself."`
}

type signalInput struct {
	Group string `path:"g"`
	withBody[newSignal]
}

func (a *api) sendSignal(ctx context.Context, in *signalInput) (*none, error) {
	actor, s := actorOf(ctx), in.body()
	from, err := senderOf(actor, s.From)
	if err != nil {
		return nil, err
	}
	return noContent(a.Signals.Send(ctx, domain.Signal{
		Group: in.Group, From: from, Operator: actor.Key, Kind: s.Kind, Data: s.Data,
	}))
}
