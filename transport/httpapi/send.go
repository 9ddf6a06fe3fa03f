package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"hearth/domain"
	"hearth/transport/wire"
)

const messageTag = "Messages"

func (a *api) addSend() {
	register(a, route{
		method: http.MethodPost, path: "/v1/groups/{g}/messages", id: "sendMessage", tag: messageTag,
		status:  http.StatusCreated,
		summary: "Send a message",
		description: "Answers 201 when the message has its seq, or with `ack:\"durable\"` when its row is committed " +
			"(or `timeout_ms` passed: then `durable` is false). Repeated with the same `client_id` within 10 " +
			"minutes: 200 and the first result, `duplicate:true`; with other content: `conflict`. After " +
			"`unavailable` repeat it with the same `client_id`. `ack:\"both\"` has no second answer over HTTP and is " +
			"answered as `accepted`; `echo` is about WebSocket connections and changes nothing here.",
		errors: append([]domain.Code{
			domain.CodeMuted, domain.CodeRejected, domain.CodeStrangerLimit, domain.CodeConflict,
			domain.CodeRateLimited, domain.CodeOverloaded,
		}, groupErrors...),
	}, a.sendMessage)
	register(a, route{
		method: http.MethodPost, path: "/v1/direct/{user}/messages", id: "sendDirect", tag: messageTag,
		status:  http.StatusCreated,
		summary: "Send a message to a user",
		description: "As to a group. The direct conversation is opened on first use. A user may send 3 messages to " +
			"somebody who has never written there; the fourth is `stranger_limit`. An app server names in `from` whose " +
			"conversation with the user it is.",
		errors: []domain.Code{
			domain.CodeForbidden, domain.CodeRejected, domain.CodeStrangerLimit, domain.CodeConflict,
			domain.CodeRateLimited, domain.CodeOverloaded,
		},
	}, a.sendDirect)
	for _, path := range []string{"/v1/groups/{g}/messages", "/v1/direct/{user}/messages"} {
		op := a.huma.OpenAPI().Paths[path].Post
		repeated := *op.Responses["201"]
		repeated.Description, repeated.Headers = "A repeated send: the first result", nil
		op.Responses["200"] = &repeated
	}
}

type newMessage struct {
	Body      elements `json:"body"`
	From      string   `json:"from,omitempty" doc:"For app servers: the sender, a member or not; default system. A user may only name himself."`
	ClientID  string   `json:"client_id,omitempty" doc:"Makes the send repeatable." pattern:"^[A-Za-z0-9_.@#-]{1,64}$"`
	Ack       string   `json:"ack,omitempty" enum:"accepted,durable,both" doc:"Default accepted."`
	TimeoutMS *int64   `json:"timeout_ms,omitempty" minimum:"1" maximum:"10000" doc:"With ack durable only; default 3000."`
	Echo      *bool    `json:"echo,omitempty" doc:"Accepted for likeness with the op send; changes nothing here."`
	Mentions  []string `json:"mentions,omitempty" nullable:"false" maxItems:"50" doc:"At most 50 users, or [\"*\"]."`
	ReplyTo   *int64   `json:"reply_to,omitempty" minimum:"1" doc:"The seq of a message."`
	Priority  string   `json:"priority,omitempty" enum:"high,normal,low"`
}

type sendInput struct {
	Group string `path:"g"`
	withBody[newMessage]
}

type sent struct {
	Group        string `json:"group"`
	Seq          int64  `json:"seq"`
	TimeMS       int64  `json:"time_ms"`
	Duplicate    bool   `json:"duplicate"`
	Durable      bool   `json:"durable" doc:"Whether its row is committed."`
	PersistedSeq int64  `json:"persisted_seq" doc:"All messages of the group up to this seq are committed."`
	PeerOnline   *bool  `json:"peer_online,omitempty" doc:"In direct conversations: whether the other side has a connection anywhere."`
}

func (a *api) sendMessage(ctx context.Context, in *sendInput) (out *created[sent], err error) {
	defer func(started time.Time) { a.metrics.sendDone(started, err) }(time.Now())
	draft, err := a.draft(actorOf(ctx), in.Group, in.body())
	if err != nil {
		return nil, err
	}
	return a.send(ctx, draft)
}

type sendDirectInput struct {
	User string `path:"user"`
	withBody[newMessage]
}

func (a *api) sendDirect(ctx context.Context, in *sendDirectInput) (out *created[sent], err error) {
	defer func(started time.Time) { a.metrics.sendDone(started, err) }(time.Now())
	from, err := senderOf(actorOf(ctx), in.body().From)
	if err != nil {
		return nil, err
	}
	if from == domain.SystemUser {
		return nil, domain.BadField("from", "is required: whose conversation with the user")
	}
	group, err := domain.DirectWith(from, "user", in.User)
	if err != nil {
		return nil, err
	}
	draft, err := a.draft(actorOf(ctx), group, in.body())
	if err != nil {
		return nil, err
	}
	draft.Open = true
	return a.send(ctx, draft)
}

func (a *api) send(ctx context.Context, draft domain.Draft) (*created[sent], error) {
	r, err := a.deliver(ctx, draft)
	if err != nil {
		return nil, err
	}
	out := &created[sent]{
		Status:   http.StatusCreated,
		Location: groupPath(r.Group) + "/messages/" + strconv.FormatInt(r.Seq, 10),
		Body: sent{
			Group: r.Group, Seq: r.Seq, TimeMS: r.TimeMS, Duplicate: r.Duplicate, Durable: r.Durable,
			PersistedSeq: r.PersistedSeq, PeerOnline: r.PeerOnline,
		},
	}
	if r.Duplicate {
		out.Status = http.StatusOK
	}
	return out, nil
}

func (a *api) draft(actor domain.Actor, group string, m *newMessage) (domain.Draft, error) {
	if err := domain.CheckGroup("group", group); err != nil {
		return domain.Draft{}, err
	}
	from, err := senderOf(actor, m.From)
	if err != nil {
		return domain.Draft{}, err
	}
	body, err := wire.Body(m.Body, a.Limits)
	if err != nil {
		return domain.Draft{}, err
	}
	d := domain.Draft{
		Group: group, From: from, Operator: actor.Key, Body: body, ClientID: m.ClientID, Mentions: m.Mentions,
		Priority: domain.Priority(m.Priority), Ack: domain.Ack(m.Ack),
	}
	if m.ReplyTo != nil {
		if *m.ReplyTo < 1 {
			return domain.Draft{}, domain.BadField("reply_to", "must be the seq of a message")
		}
		d.ReplyTo = *m.ReplyTo
	}
	if m.TimeoutMS != nil {
		if *m.TimeoutMS < 1 || *m.TimeoutMS > domain.MaxAckTimeout.Milliseconds() {
			return domain.Draft{}, domain.BadField("timeout_ms", "must be from 1 to %d", domain.MaxAckTimeout.Milliseconds())
		}
		d.Timeout = time.Duration(*m.TimeoutMS) * time.Millisecond
	}
	if d.Ack == domain.AckBoth {
		d.Ack = domain.AckAccepted // nobody is there to be told the rest
	}
	return d, nil
}

// senderOf is whom a message is from: a user himself; for an app server whoever it names, or system.
func senderOf(actor domain.Actor, from string) (string, error) {
	if from == "" {
		if actor.IsServer() {
			return domain.SystemUser, nil
		}
		return actor.User, nil
	}
	if err := domain.CheckID("from", from); err != nil {
		return "", err
	}
	if !actor.IsServer() && from != actor.User {
		return "", forbiddenFor("from")
	}
	return from, nil
}

// deliver blocks until the send is answered, or until the request ends.
func (a *api) deliver(ctx context.Context, d domain.Draft) (domain.Receipt, error) {
	type outcome struct {
		receipt domain.Receipt
		err     error
	}
	answered := make(chan outcome, 1) // the reply comes once and must not block
	a.Sends.Send(d, func(r domain.Receipt, err error) { answered <- outcome{r, err} }, func(domain.Accepted) {})
	select {
	case o := <-answered:
		return o.receipt, o.err
	case <-ctx.Done():
		return domain.Receipt{}, &domain.Error{
			Code:    domain.CodeUnavailable,
			Message: "the request ended before its outcome was known; repeat it with the same client_id",
			Err:     context.Cause(ctx),
		}
	}
}
