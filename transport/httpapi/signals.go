package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"hearth/domain"
)

func (a *api) addSignals() {
	register(a, route{
		method: http.MethodPost, path: "/v1/groups/{g}/signals", id: "sendSignal", tag: messageTag,
		summary: "Send a signal",
		description: "To all connections that are subscribed now, such as that somebody is typing: without a seq, and " +
			"nothing is stored. An app server's `from` is `system` unless it names somebody.",
		errors: append([]domain.Code{domain.CodeMuted, domain.CodeStrangerLimit}, groupErrors...),
	}, a.sendSignal)
}

type newSignal struct {
	Kind string          `json:"kind" minLength:"1" maxLength:"64" doc:"1 to 64 bytes, such as typing."`
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
