package transport

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"hearth/domain"
	"hearth/transport/wire"
)

// task is one thing to be worked off in order: a request, or something of the connection's own.
type task struct {
	request wire.Request
	own     func(ctx context.Context) // nil for a request
}

// request takes a request on. Sends go to the batcher at once and are answered when they are accepted; everything
// else is worked off in the order in which it came, beside the reader. A send behind other ops waits for them.
func (c *Conn) request(r wire.Request) {
	c.mu.Lock()
	now := r.Op == "send" && !c.working && !c.gone
	c.mu.Unlock()
	if now { // only the reader comes here: nothing gets in between
		c.send(r)
		return
	}
	c.start(task{request: r.Clone()})
}

// start queues a task and sees that somebody works.
func (c *Conn) start(t task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	c.tasks = append(c.tasks, t)
	if !c.working {
		c.working = true
		c.work.Go(c.workOff)
	}
}

func (c *Conn) workOff() {
	for {
		c.mu.Lock()
		if len(c.tasks) == 0 || c.gone {
			c.tasks, c.working = nil, false
			c.endWhenIdle()
			c.mu.Unlock()
			return
		}
		t := c.tasks[0]
		c.tasks = c.tasks[1:]
		c.room.Broadcast()
		c.mu.Unlock()
		c.dispatch(t)
		c.awaitRoom(math.MaxInt)
	}
}

// beginTask makes the context of a task; it ends with the connection, too. An idle connection has none.
func (c *Conn) beginTask() (ctx context.Context, end func()) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = cancel
	if c.gone {
		cancel()
	}
	return ctx, func() {
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cancel = nil
	}
}

// cancelTask ends the task at hand, when the connection is gone.
func (c *Conn) cancelTask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *Conn) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// dispatch does a task: a request goes to its use case, and the reply into the queue.
func (c *Conn) dispatch(t task) {
	ctx, end := c.beginTask()
	defer end()
	if t.own != nil {
		t.own(ctx)
		return
	}
	r := t.request
	var reply []byte
	var err error
	switch r.Op {
	case "send":
		c.send(r)
		return
	case "subscribe":
		err = c.subscribe(ctx, r) // replies itself, together with the pushes behind it
		if err == nil {
			return
		}
	case "unsubscribe":
		reply, err = c.unsubscribe(ctx, r)
	case "sync":
		reply, err = c.sync(ctx, r)
	case "pull":
		reply, err = c.pull(ctx, r)
	case "read":
		reply, err = c.markRead(ctx, r)
	case "recall":
		reply, err = c.recall(ctx, r)
	case "signal":
		reply, err = c.signal(ctx, r)
	case "presence":
		reply, err = c.presence(ctx, r)
	case "hot":
		err = c.hot(r) // replies itself, before the ranking
		if err == nil {
			return
		}
	case "refresh":
		reply, err = c.refresh(r)
	case "ping":
		reply, err = c.pong(r)
	default:
		err = domain.BadField("op", "is not one of send, signal, subscribe, unsubscribe, sync, pull, read, recall, presence, hot, refresh, ping")
	}
	if err != nil {
		c.fail(r, err)
		return
	}
	c.reply(reply)
}

// fail answers with an error; what is not the client's fault is logged.
func (c *Conn) fail(r wire.Request, err error) {
	if e := domain.AsError(err); e.Err != nil && !c.isGone() {
		c.server.log.Warn().Err(err).Str("op", r.Op).Str("conn", c.id).Str("user", c.claims.User).Msg("request failed")
	}
	c.reply(wire.AppendError(nil, r.ID, err))
}

func (c *Conn) send(r wire.Request) {
	started := time.Now()
	draft, err := c.draft(r)
	if err != nil {
		c.server.metrics.sendDone(started, err)
		c.fail(r, err)
		return
	}
	c.sends(1)
	c.server.sends.Send(draft, func(receipt domain.Receipt, err error) {
		defer c.sends(-1)
		c.server.metrics.sendDone(started, err)
		if err != nil {
			c.fail(r, err)
			return
		}
		c.reply(wire.AppendSent(make([]byte, 0, 160), r.ID, receipt))
	}, func(a domain.Accepted) {
		c.reply(wire.AppendDurable(nil, a.Group, a.Seq)) // asked for, so not to be let go
	})
}

// sends counts the sends under way.
func (c *Conn) sends(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sending += n
	c.endWhenIdle()
}

// addressee is the group that a request names, itself or by the user on the other side; open tells the latter.
func (c *Conn) addressee(group, to *string) (id string, open bool, err error) {
	switch {
	case group != nil && to != nil:
		return "", false, domain.BadField("to", "goes without group")
	case group != nil:
		return *group, false, nil
	case to == nil:
		return "", false, domain.BadField("group", "is required, or to")
	}
	id, err = domain.DirectWith(c.claims.User, "to", *to)
	return id, true, err
}

func (c *Conn) draft(r wire.Request) (domain.Draft, error) {
	var q wire.SendRequest
	if err := r.Decode(&q); err != nil {
		return domain.Draft{}, err
	}
	group, open, err := c.addressee(q.Group, q.To)
	if err != nil {
		return domain.Draft{}, err
	}
	body, err := wire.Body(q.Body, c.server.cfg.Limits)
	if err != nil {
		return domain.Draft{}, err
	}
	d := domain.Draft{Group: group, Open: open, From: c.claims.User, Conn: c.id, Body: body, Mentions: q.Mentions}
	if q.ClientID != nil {
		if err := domain.CheckID("client_id", *q.ClientID); err != nil {
			return domain.Draft{}, err
		}
		d.ClientID = *q.ClientID
	}
	if q.Ack != nil {
		if d.Ack = domain.Ack(*q.Ack); d.Ack == "" {
			return domain.Draft{}, domain.BadField("ack", "must be accepted, durable or both")
		}
	}
	if q.Priority != nil {
		if d.Priority = domain.Priority(*q.Priority); d.Priority == "" {
			return domain.Draft{}, domain.BadField("priority", "must be high, normal or low")
		}
	}
	if q.TimeoutMS != nil {
		if *q.TimeoutMS < 1 || *q.TimeoutMS > domain.MaxAckTimeout.Milliseconds() {
			return domain.Draft{}, domain.BadField("timeout_ms", "must be from 1 to %d", domain.MaxAckTimeout.Milliseconds())
		}
		d.Timeout = time.Duration(*q.TimeoutMS) * time.Millisecond
	}
	if q.ReplyTo != nil {
		if *q.ReplyTo < 1 {
			return domain.Draft{}, domain.BadField("reply_to", "must be the seq of a message")
		}
		d.ReplyTo = *q.ReplyTo
	}
	if q.Echo != nil && !*q.Echo {
		d.Mute = c.id
	}
	return d, nil
}

func (c *Conn) sync(ctx context.Context, r wire.Request) ([]byte, error) {
	var q wire.SyncRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	limit, err := limitOf(q.Limit)
	if err != nil {
		return nil, err
	}
	if q.Groups == nil {
		return c.conversations(ctx, r, q)
	}
	if q.Cursor != nil {
		return nil, domain.BadField("cursor", "goes with a sync without groups only")
	}
	query := domain.SyncQuery{Groups: q.Groups, Limit: limit, RecalledAfterMS: q.RecalledAfterMS}
	if q.MaxBytes != nil {
		if query.MaxBytes = *q.MaxBytes; query.MaxBytes < 1 {
			return nil, domain.BadField("max_bytes", "must be at least 1")
		}
	}
	results, err := c.server.history.Sync(ctx, c.actor(), query)
	if err != nil {
		return nil, err
	}
	return wire.AppendSynced(nil, r.ID, results), nil
}

func (c *Conn) conversations(ctx context.Context, r wire.Request, q wire.SyncRequest) ([]byte, error) {
	if q.MaxBytes != nil || q.Limit != nil {
		return nil, domain.BadField("limit", "limit and max_bytes go with groups only")
	}
	if q.RecalledAfterMS != nil {
		return nil, domain.BadField("recalled_after_ms", "goes with groups only")
	}
	cursor := ""
	if q.Cursor != nil {
		cursor = *q.Cursor
	}
	list, next, err := c.server.history.Conversations(ctx, c.actor(), cursor)
	if err != nil {
		return nil, err
	}
	return wire.AppendConversationList(nil, r.ID, list, next), nil
}

// limitOf reads an optional limit: at least 1, clamped where it is used.
func limitOf(limit *int) (int, error) {
	if limit == nil {
		return 0, nil
	}
	if *limit < 1 {
		return 0, domain.BadField("limit", "must be at least 1")
	}
	return *limit, nil
}

func (c *Conn) pull(ctx context.Context, r wire.Request) ([]byte, error) {
	var q wire.PullRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	limit, err := limitOf(q.Limit)
	if err != nil {
		return nil, err
	}
	head, page, err := c.server.history.Pull(ctx, c.actor(), domain.PullQuery{
		Group: q.Group, After: q.AfterSeq, Before: q.BeforeSeq, BeforeMS: q.BeforeMS, Limit: limit,
		RecalledAfterMS: q.RecalledAfterMS,
	})
	if err != nil {
		return nil, err
	}
	return wire.AppendPulled(nil, r.ID, head, page), nil
}

func (c *Conn) markRead(ctx context.Context, r wire.Request) ([]byte, error) {
	var q wire.ReadRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.Seq == nil {
		return nil, domain.BadField("seq", "is required")
	}
	head, err := c.server.history.MarkRead(ctx, c.actor(), q.Group, *q.Seq, c.id)
	if err != nil {
		return nil, err
	}
	return wire.AppendRead(nil, r.ID, head), nil
}

func (c *Conn) recall(ctx context.Context, r wire.Request) ([]byte, error) {
	var q wire.RecallRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if q.Seq == nil {
		return nil, domain.BadField("seq", "is required")
	}
	if err := c.server.recalls.Recall(ctx, c.actor(), q.Group, *q.Seq); err != nil {
		return nil, err
	}
	return wire.AppendOK(nil, r.ID), nil
}

func (c *Conn) pong(r wire.Request) ([]byte, error) {
	var q wire.PingRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	return wire.AppendPong(nil, r.ID, c.server.clock.NowMS()), nil
}

func (c *Conn) signal(ctx context.Context, r wire.Request) ([]byte, error) {
	var q wire.SignalRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	group, open, err := c.addressee(q.Group, q.To)
	if err != nil {
		return nil, err
	}
	err = c.server.signals.Send(ctx, domain.Signal{
		Group: group, Open: open, From: c.claims.User, Kind: q.Kind, Data: json.RawMessage(q.Data), Except: c.id,
	})
	if err != nil {
		return nil, err
	}
	return wire.AppendOK(nil, r.ID), nil
}

func (c *Conn) presence(ctx context.Context, r wire.Request) ([]byte, error) {
	var q wire.PresenceRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	found, err := c.server.sessions.Presence(ctx, "users", q.Users)
	if err != nil {
		return nil, err
	}
	return wire.AppendPresence(nil, r.ID, found), nil
}

func (c *Conn) hot(r wire.Request) error {
	var q wire.HotRequest
	if err := r.Decode(&q); err != nil {
		return err
	}
	if q.Watch == nil {
		return domain.BadField("watch", "is required")
	}
	limit, err := limitOf(q.Limit)
	switch {
	case err != nil:
		return err
	case !*q.Watch && q.Limit != nil:
		return domain.BadField("limit", "goes with watch true only")
	case !*q.Watch:
		c.server.boards.unwatch(c)
		c.reply(wire.AppendOK(nil, r.ID))
		return nil
	case limit == 0:
		limit = domain.DefaultHotLimit
	}
	c.reply(wire.AppendOK(nil, r.ID))
	c.server.boards.watch(c, min(limit, domain.MaxWatchedHot))
	return nil
}
