package httpapi

import (
	"context"
	"net/http"

	"hearth/domain"
	"hearth/transport/wire"
)

func (a *api) addMessages() {
	a.addSend()
	register(a, route{
		method: http.MethodGet, path: "/v1/groups/{g}/messages", id: "pullMessages", tag: messageTag,
		summary: "Pull a page of messages",
		description: "At most one of `after_seq`, `before_seq` and `before_ms`, all exclusive; none: the newest page. " +
			"Messages ascend in every case. `holes` explains the seqs that have no message; `more` tells whether " +
			"there is more in the direction of paging.",
		errors: groupErrors,
	}, a.pullMessages)
	register(a, route{
		method: http.MethodGet, path: "/v1/groups/{g}/messages/{seq}", id: "getMessage", tag: messageTag,
		summary:     "Show one message",
		description: "Recalled messages are tombstones: without `body`, with `recalled_ms`.",
		errors:      groupErrors,
	}, a.getMessage)
	register(a, route{
		method: http.MethodDelete, path: "/v1/groups/{g}/messages/{seq}", id: "recallMessage", tag: messageTag,
		summary: "Recall a message",
		description: "Senders within 2 minutes; the owner at any time, admins too but for messages of admins and of the owner. " +
			"In direct conversations the sender only. What is recalled already stays so.",
		errors: groupErrors,
	}, a.recallMessage)
	register(a, route{
		method: http.MethodPost, path: "/v1/groups/{g}/read", id: "markRead", tag: messageTag,
		summary:     "Move a read mark forward",
		description: "Never moves back; above `max_seq` is clamped. An app server names the `user`.",
		errors:      groupErrors,
	}, a.markRead)
	register(a, route{
		method: http.MethodGet, path: "/v1/groups/{g}/readers", id: "listReaders", tag: messageTag,
		summary: "Who has read a message",
		description: "Those whose read mark has reached `seq`, without the sender. `users` is left out when they are " +
			"more than 100.",
		errors: groupErrors,
	}, a.listReaders)
}

type readersInput struct {
	Group string  `path:"g"`
	Seq   integer `query:"seq" minimum:"1" required:"true"`
}

type readers struct {
	Seq       int64    `json:"seq"`
	ReadCount int      `json:"read_count"`
	Users     []string `json:"users,omitempty" nullable:"false"`
}

func (a *api) listReaders(ctx context.Context, in *readersInput) (*answer[readers], error) {
	seq, err := in.Seq.value("seq")
	if err == nil && seq == nil {
		err = domain.BadField("seq", "is required")
	}
	if err != nil {
		return nil, err
	}
	found, err := a.History.Readers(ctx, actorOf(ctx), in.Group, *seq)
	if err != nil {
		return nil, err
	}
	return &answer[readers]{Body: readers{Seq: found.Seq, ReadCount: found.Count, Users: found.Users}}, nil
}

type pullInput struct {
	Group     string  `path:"g"`
	AfterSeq  integer `query:"after_seq" minimum:"0"`
	BeforeSeq integer `query:"before_seq" minimum:"0"`
	BeforeMS  integer `query:"before_ms" minimum:"0"`
	Limit     integer `query:"limit" minimum:"1" doc:"Default 50, at most 200."`

	RecalledAfterMS integer `query:"recalled_after_ms" minimum:"0" doc:"With after_seq: ask for recalled."`
}

func (in *pullInput) query() (q domain.PullQuery, err error) {
	q.Group = in.Group
	if q.After, err = in.AfterSeq.value("after_seq"); err != nil {
		return q, err
	}
	if q.Before, err = in.BeforeSeq.value("before_seq"); err != nil {
		return q, err
	}
	if q.BeforeMS, err = in.BeforeMS.value("before_ms"); err != nil {
		return q, err
	}
	if q.RecalledAfterMS, err = in.RecalledAfterMS.value("recalled_after_ms"); err != nil {
		return q, err
	}
	q.Limit, err = in.Limit.limit()
	return q, err
}

func (a *api) pullMessages(ctx context.Context, in *pullInput) (*answer[rawJSON[page]], error) {
	q, err := in.query()
	if err != nil {
		return nil, err
	}
	head, p, err := a.History.Pull(ctx, actorOf(ctx), q)
	if err != nil {
		return nil, err
	}
	return &answer[rawJSON[page]]{Body: wire.AppendPull(nil, head, p)}, nil
}

type messageInput struct {
	Group string  `path:"g"`
	Seq   integer `path:"seq" minimum:"1"`
}

func (a *api) getMessage(ctx context.Context, in *messageInput) (*answer[rawJSON[message]], error) {
	seq, err := in.Seq.value("seq")
	if err != nil {
		return nil, err
	}
	record, err := a.History.One(ctx, actorOf(ctx), in.Group, *seq)
	if err != nil {
		return nil, err
	}
	return &answer[rawJSON[message]]{Body: record.AppendJSON(nil)}, nil
}

func (a *api) recallMessage(ctx context.Context, in *messageInput) (*none, error) {
	seq, err := in.Seq.value("seq")
	if err != nil {
		return nil, err
	}
	return noContent(a.Recalls.Recall(ctx, actorOf(ctx), in.Group, *seq))
}

type newMark struct {
	Seq  int64  `json:"seq" minimum:"1"`
	User string `json:"user,omitempty" doc:"For app servers: whose mark. A user may only name himself."`
}

type readInput struct {
	Group string `path:"g"`
	withBody[newMark]
}

type mark struct {
	Group   string `json:"group"`
	ReadSeq int64  `json:"read_seq"`
	Unread  int64  `json:"unread"`
}

func (a *api) markRead(ctx context.Context, in *readInput) (*answer[mark], error) {
	actor, err := actingFor(ctx, "user", in.body().User)
	if err != nil {
		return nil, err
	}
	head, err := a.History.MarkRead(ctx, actor, in.Group, in.body().Seq, "")
	if err != nil {
		return nil, err
	}
	return &answer[mark]{Body: mark{Group: head.Group, ReadSeq: head.ReadSeq, Unread: head.Unread()}}, nil
}
