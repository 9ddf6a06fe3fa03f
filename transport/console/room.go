package console

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	strictjson "github.com/go-json-experiment/json"

	"hearth/domain"
	"hearth/transport/wire"
)

const maxRecalls = 100 // in one request

// roomEvents shows a group as it goes: a page of messages whenever there are any, or its numbers have moved.
func (c *Console) roomEvents(w http.ResponseWriter, r *http.Request, s session) error {
	f, err := c.follow(r, s, pathID(r, "group"))
	if err != nil {
		return err
	}
	return c.stream(w, r, s, f.look)
}

// follow begins behind after_seq, or with the newest page.
func (c *Console) follow(r *http.Request, s session, group string) (*follower, error) {
	q := domain.PullQuery{Group: group, Limit: domain.DefaultPage}
	if given := r.URL.Query().Get("after_seq"); given != "" {
		after, err := strconv.ParseInt(given, 10, 64)
		if err != nil {
			return nil, domain.BadField("after_seq", "must be an integer")
		}
		q.After, q.Limit = &after, domain.MaxPage
	}
	var from int64
	if given := r.URL.Query().Get("recalled_after_ms"); given != "" {
		var err error
		if from, err = strconv.ParseInt(given, 10, 64); err != nil || from < 1 {
			return nil, domain.BadField("recalled_after_ms", "must be a time in milliseconds")
		}
	}
	return &follower{console: c, actor: domain.Actor{Key: s.key}, next: q, recalls: newRecallWatch(c, from)}, nil
}

// follower is one who watches a group.
type follower struct {
	console *Console
	actor   domain.Actor
	next    domain.PullQuery
	recalls recallWatch
	shown   roomNumbers
	begun   bool
}

// roomNumbers are what a watcher is told with the messages.
type roomNumbers struct{ maxSeq, persisted, online int64 }

func (f *follower) look(ctx context.Context) ([]event, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	head, page, err := f.console.History.Pull(ctx, f.actor, f.next)
	if err != nil {
		return nil, err
	}
	online, err := f.console.Redis.Online(ctx, []string{head.Group})
	if err != nil {
		return nil, domain.Unavailable(fmt.Errorf("viewers of %s: %w", head.Group, err), "Redis")
	}
	numbers := roomNumbers{head.MaxSeq, head.PersistedSeq, int64(online[head.Group])}
	var recalls []recallView
	if f.next.After != nil {
		recalls = f.recalls.look(ctx, f.console, head.Group, *f.next.After)
	}
	if f.begun && len(page.Messages)+len(page.Holes)+len(recalls) == 0 && numbers == f.shown {
		return nil, nil
	}
	f.shown, f.begun = numbers, true
	f.advance(head, page)
	data := wire.AppendPull(nil, head, page)
	data = fmt.Appendf(data[:len(data)-1], `,"persisted_seq":%d,"online":%d`, numbers.persisted, numbers.online)
	if len(recalls) > 0 {
		told, err := strictjson.Marshal(recalls)
		if err != nil {
			return nil, fmt.Errorf("recalls in %s: %w", head.Group, err)
		}
		data = append(append(data, `,"recalls":`...), told...)
	}
	return []event{{"page", append(data, '}')}}, nil
}

// advance goes on behind what the page accounts for.
func (f *follower) advance(head *domain.Head, page domain.Page) {
	var after int64
	switch {
	case f.next.After != nil:
		after = *f.next.After
	case len(page.Messages) == 0 && page.Unexplained: // the newest is not there yet: from its page on
		return
	default:
		after = head.MaxSeq
	}
	if n := len(page.Messages); n > 0 {
		after = max(after, page.Messages[n-1].Seq)
	}
	if n := len(page.Holes); n > 0 {
		after = max(after, page.Holes[n-1].To)
	}
	f.next.After, f.next.Limit = &after, domain.MaxPage
}

func (c *Console) send(w http.ResponseWriter, r *http.Request, s session) error {
	var in struct {
		Text     string `json:"text"`
		ClientID string `json:"client_id"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	group := pathID(r, "group")
	if err := domain.CheckGroup("group", group); err != nil {
		return err
	}
	type element struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	raw, err := strictjson.Marshal([]element{{"text", in.Text}})
	if err != nil {
		return fmt.Errorf("body of a message to %s: %w", group, err)
	}
	body, err := wire.Body(raw, c.Limits)
	if err != nil {
		return err
	}
	receipt, err := c.deliver(r.Context(), domain.Draft{Group: group, From: domain.SystemUser, Operator: s.key, Body: body, ClientID: in.ClientID})
	if domain.CodeOf(err) == domain.CodeUnavailable {
		c.audit(s).Str("group", group).Msg("console sent a message, whether it is stored is not known")
	}
	if err != nil {
		return err
	}
	c.audit(s).Str("group", group).Int64("seq", receipt.Seq).Msg("console sent a message")
	return writeJSON(w, struct {
		Group        string `json:"group"`
		Seq          int64  `json:"seq"`
		TimeMS       int64  `json:"time_ms"`
		Duplicate    bool   `json:"duplicate"`
		Durable      bool   `json:"durable"`
		PersistedSeq int64  `json:"persisted_seq"`
	}{receipt.Group, receipt.Seq, receipt.TimeMS, receipt.Duplicate, receipt.Durable, receipt.PersistedSeq})
}

// deliver blocks until the send is answered, or until the request ends.
func (c *Console) deliver(ctx context.Context, d domain.Draft) (domain.Receipt, error) {
	type outcome struct {
		receipt domain.Receipt
		err     error
	}
	answered := make(chan outcome, 1) // the reply comes once and must not block
	c.Sends.Send(d, func(r domain.Receipt, err error) { answered <- outcome{r, err} }, func(domain.Accepted) {})
	select {
	case o := <-answered:
		return o.receipt, o.err
	case <-ctx.Done():
		return domain.Receipt{}, domain.Errorf(domain.CodeUnavailable, "the request ended before its outcome was known")
	}
}

// recall takes messages back, one after the other; it stops at the first that cannot be.
func (c *Console) recall(w http.ResponseWriter, r *http.Request, s session) error {
	var in struct {
		Seqs []int64 `json:"seqs"`
	}
	if err := readJSON(w, r, &in); err != nil {
		return err
	}
	if len(in.Seqs) == 0 || len(in.Seqs) > maxRecalls {
		return domain.BadField("seqs", "must be from 1 to %d seqs", maxRecalls)
	}
	group := pathID(r, "group")
	for _, seq := range in.Seqs {
		err := c.Recalls.Recall(r.Context(), domain.Actor{Key: s.key}, group, seq)
		if domain.CodeOf(err) == domain.CodeUnavailable {
			c.audit(s).Str("group", group).Int64("seq", seq).Msg("console recalled a message, whether it is gone is not known")
		}
		if err != nil {
			return err
		}
		c.audit(s).Str("group", group).Int64("seq", seq).Msg("console recalled a message")
	}
	return writeJSON(w, struct {
		Recalled int `json:"recalled"`
	}{len(in.Seqs)})
}
