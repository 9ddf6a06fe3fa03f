package httpapi

import (
	"context"
	"net/http"

	"hearth/domain"
	"hearth/transport/wire"
)

func (a *api) addSync() {
	register(a, route{
		method: http.MethodPost, path: "/v1/sync", id: "sync", tag: messageTag, optionalBody: true,
		summary: "Catch up in many groups at once, or list conversations",
		description: "With `groups`: one result for each group and none left out, its new messages or an error; groups " +
			"that the byte budget did not reach have `more`. Without: the heads of all the user's groups, most " +
			"recently active first, and a `cursor` when there are more. An app server names the `user`.",
		errors: []domain.Code{domain.CodeForbidden},
	}, a.sync)
}

type syncBody struct {
	Groups          map[string]int64 `json:"groups,omitempty" maxProperties:"200" doc:"Group → after_seq; at most 200."`
	Limit           *int64           `json:"limit,omitempty" minimum:"1" doc:"Messages a group, with groups; default 50, at most 200."`
	MaxBytes        *int64           `json:"max_bytes,omitempty" minimum:"1" doc:"Of messages, with groups; default 256 KiB, at most 1 MiB."`
	Cursor          string           `json:"cursor,omitempty" doc:"Without groups: from the answer before."`
	RecalledAfterMS *int64           `json:"recalled_after_ms,omitempty" minimum:"0" doc:"With groups: ask for recalled."`
	User            string           `json:"user,omitempty" doc:"For app servers: who. A user may only name himself."`
}

type syncInput struct{ withBody[syncBody] }

func (a *api) sync(ctx context.Context, in *syncInput) (*answer[rawJSON[syncAnswer]], error) {
	actor, err := actingFor(ctx, "user", in.body().User)
	if err != nil {
		return nil, err
	}
	var out []byte
	if in.body().Groups != nil {
		out, err = a.syncGroups(ctx, actor, in.body())
	} else {
		out, err = a.conversations(ctx, actor, in.body())
	}
	return answerOf(rawJSON[syncAnswer](out), err)
}

func (a *api) syncGroups(ctx context.Context, actor domain.Actor, b *syncBody) ([]byte, error) {
	if b.Cursor != "" {
		return nil, domain.BadField("cursor", "goes without groups only")
	}
	limit, err := limitOf("limit", b.Limit)
	if err != nil {
		return nil, err
	}
	maxBytes, err := limitOf("max_bytes", b.MaxBytes)
	if err != nil {
		return nil, err
	}
	results, err := a.History.Sync(ctx, actor, domain.SyncQuery{Groups: b.Groups, Limit: limit, MaxBytes: maxBytes, RecalledAfterMS: b.RecalledAfterMS})
	if err != nil {
		return nil, err
	}
	for i := range results {
		if results[i].Err != nil {
			_ = a.fail(ctx, results[i].Err) // only for the log: the answer has it
		}
	}
	return wire.AppendSync(nil, results), nil
}

func (a *api) conversations(ctx context.Context, actor domain.Actor, b *syncBody) ([]byte, error) {
	if b.Limit != nil {
		return nil, domain.BadField("limit", "goes with groups only")
	}
	if b.MaxBytes != nil {
		return nil, domain.BadField("max_bytes", "goes with groups only")
	}
	if b.RecalledAfterMS != nil {
		return nil, domain.BadField("recalled_after_ms", "goes with groups only")
	}
	list, next, err := a.History.Conversations(ctx, actor, b.Cursor)
	if err != nil {
		return nil, err
	}
	return wire.AppendConversations(nil, list, next), nil
}
