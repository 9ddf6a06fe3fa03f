package transport

import (
	"context"
	"errors"
	"slices"

	"hearth/domain"
	"hearth/transport/wire"
)

const maxSubscribed = 1000 // conversations that a new connection is subscribed to by itself

// welcome subscribes the connection to its user's conversations and lets the writing begin, with welcome first.
func (c *Conn) welcome(ctx context.Context) {
	heads, all, err := c.conversationsToFollow(ctx)
	if err == nil {
		err = c.followAll(ctx, heads)
	}
	groups := groupsOf(heads)
	if err != nil {
		c.server.log.Warn().Err(err).Str("conn", c.id).Str("user", c.claims.User).Msg("connection not subscribed")
		c.close(domain.CloseServerError, "could not subscribe, reconnect")
		return
	}
	c.announce(ctx, groups)
	w := wire.Welcome{
		Conn: c.id, User: c.claims.User, Instance: c.server.cfg.Instance, NowMS: c.server.clock.NowMS(),
		PingInterval: c.server.cfg.PingInterval, Subscribed: len(groups), SubscribedAll: all,
		MessageBytes: c.server.cfg.Limits.MessageBytes,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || c.closing != 0 {
		return
	}
	c.queue = append([]queued{{object: w.Append(nil)}}, c.queue...)
	c.open = true
	c.startWriting()
}

// announce tells those who share a direct conversation with the user that he has come.
func (c *Conn) announce(ctx context.Context, groups []string) {
	if !c.admission.First {
		return
	}
	if err := c.server.sessions.Announce(ctx, c.claims.User, true, groups); err != nil {
		c.server.log.Warn().Err(err).Str("user", c.claims.User).Msg("user not announced")
	}
}

// conversationsToFollow are the groups and direct conversations of the user, at most maxSubscribed, most recently
// active first; rooms are entered by subscribe.
func (c *Conn) conversationsToFollow(ctx context.Context) (heads []domain.Head, all bool, err error) {
	heads, err = c.server.history.Mine(ctx, c.claims.User, c.admission.LastNote)
	if err != nil {
		return nil, false, err
	}
	heads = slices.DeleteFunc(heads, func(h domain.Head) bool { return h.Type == domain.Room })
	if len(heads) > maxSubscribed {
		return heads[:maxSubscribed], false, nil
	}
	return heads, true, nil
}

func groupsOf(heads []domain.Head) []string {
	groups := make([]string, len(heads))
	for i := range heads {
		groups[i] = heads[i].Group
	}
	return groups
}

func (c *Conn) followAll(ctx context.Context, heads []domain.Head) error {
	c.mu.Lock()
	heads = slices.DeleteFunc(slices.Clone(heads), func(h domain.Head) bool { return c.feeds[h.Group] != nil }) // a note was quicker
	c.mu.Unlock()
	feeds := c.server.hub.follow(ctx, groupsOf(heads))
	c.mu.Lock()
	for _, f := range feeds {
		c.feeds[f.group] = f
	}
	c.mu.Unlock()
	for _, f := range feeds { // all of them first: what is pushed before welcome waits in the queue
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	for i, f := range feeds {
		f.add(c, heads[i].Version)
	}
	return nil
}

// subscribe answers itself: the page, and behind it the pushes that came while it was read, meet exactly.
func (c *Conn) subscribe(ctx context.Context, r wire.Request) error {
	var q wire.SubscribeRequest
	if err := r.Decode(&q); err != nil {
		return err
	}
	limit, err := limitOf(q.Limit)
	if err != nil {
		return err
	}
	if q.AfterSeq == nil && q.Limit != nil {
		return domain.BadField("limit", "goes with after_seq only")
	}
	if q.AfterSeq != nil && (*q.AfterSeq < 0 || *q.AfterSeq >= 1<<53) {
		return domain.BadField("after_seq", "must be from 0 to 2^53-1")
	}
	if err := domain.CheckRecalledAfter(q.RecalledAfterMS, q.AfterSeq != nil); err != nil {
		return err
	}
	repairs := c.server.hub.repairsOf(q.Group)
	head, err := c.enter(ctx, q.Group)
	if err != nil {
		return err
	}
	f, _, err := c.follow(ctx, q.Group)
	if err != nil {
		return err
	}
	if q.AfterSeq != nil && *q.AfterSeq <= head.MaxSeq {
		err = f.catchUp(ctx, *q.AfterSeq) // a client may be ahead of this instance
	}
	if err == nil {
		err = c.answerSubscribe(ctx, r.ID, f, head, repairs, q, limit)
	}
	if err != nil && !f.serves(c) {
		c.unfollow(q.Group)
	}
	return err
}

// answerSubscribe reads the page and sends the reply. repairs is what repairsOf said before the head was read.
func (c *Conn) answerSubscribe(ctx context.Context, id wire.ID, f *feed, head *domain.Head, repairs heard, q wire.SubscribeRequest, limit int) error {
	sub, top := f.hold(c, head.Version)
	head.MaxSeq = top
	var page domain.Page
	if q.AfterSeq != nil {
		err := c.renewHoles(ctx, head, repairs)
		if err == nil {
			page, err = c.pageUpTo(ctx, head, *q.AfterSeq, limit)
		}
		if err == nil && q.RecalledAfterMS != nil {
			page.Recalled, err = c.server.history.RecalledSeqs(ctx, q.Group, *q.RecalledAfterMS, *q.AfterSeq)
		}
		if err != nil {
			f.restore(c, sub)
			return err
		}
	}
	f.release(c, sub, wire.AppendSubscribed(nil, id, head, page), top)
	return nil
}

// renewHoles reads the holes again if messages may have come back since the head was read: before its subscription, a
// client is not told to resync.
func (c *Conn) renewHoles(ctx context.Context, head *domain.Head, repairs heard) error {
	if c.server.hub.repairsOf(head.Group) == repairs {
		return nil
	}
	now, err := c.server.history.Head(ctx, head.Group)
	if err != nil {
		return err
	}
	head.Holes = now.Holes
	return nil
}

// pageUpTo reads the page behind after, up to head.MaxSeq. A seq that nothing explains yet is waited for.
func (c *Conn) pageUpTo(ctx context.Context, head *domain.Head, after int64, limit int) (domain.Page, error) {
	if limit == 0 {
		limit = domain.DefaultPage
	}
	for {
		page, err := c.server.history.After(ctx, head, after, head.MaxSeq, min(limit, domain.MaxPage))
		if err != nil || !page.Unexplained || len(page.Messages) > 0 {
			return page, err
		}
		waitOrDone(ctx, repairRetry)
		if ctx.Err() != nil {
			return page, domain.Unavailable(errors.New("a seq is not explained"), "MySQL")
		}
	}
}

// enter is the head of a group the user may read. An unknown room is created where that is switched on.
func (c *Conn) enter(ctx context.Context, group string) (*domain.Head, error) {
	head, err := c.server.history.Enter(ctx, c.actor(), group)
	if domain.CodeOf(err) != domain.CodeNotFound || !c.server.cfg.AutoCreate || !domain.ValidID(group) {
		return head, err
	}
	server := domain.Actor{Key: domain.SystemUser}
	_, err = c.server.groups.Create(ctx, server, domain.NewGroup{ID: group, Type: domain.Room, Name: group})
	if err != nil && domain.CodeOf(err) != domain.CodeConflict {
		return nil, err
	}
	return c.server.history.Enter(ctx, c.actor(), group)
}

// follow counts the connection in on a group's feed, once, and waits for it. followed tells that it was in before.
func (c *Conn) follow(ctx context.Context, group string) (f *feed, followed bool, err error) {
	c.mu.Lock()
	f = c.feeds[group]
	c.mu.Unlock()
	if followed = f != nil; !followed {
		f = c.server.hub.follow(ctx, []string{group})[0]
		c.mu.Lock()
		c.feeds[group] = f
		c.mu.Unlock()
	}
	if err := f.wait(ctx); err != nil {
		c.unfollow(group)
		return nil, false, err
	}
	return f, followed, nil
}

func (c *Conn) unfollow(group string) {
	c.mu.Lock()
	f := c.feeds[group]
	delete(c.feeds, group)
	c.mu.Unlock()
	if f == nil {
		return
	}
	f.remove(c)
	c.server.hub.unfollow(f)
}

func (c *Conn) unsubscribe(ctx context.Context, r wire.Request) ([]byte, error) {
	var q wire.GroupRequest
	if err := r.Decode(&q); err != nil {
		return nil, err
	}
	if err := domain.CheckGroup("group", q.Group); err != nil {
		return nil, err
	}
	c.unfollow(q.Group)
	// What the user was answered before this op lies in his notes: it must not subscribe the connection afterwards. When
	// they cannot be read now, it still may.
	upTo, err := c.server.hub.readNotesOf(ctx, c.claims.User)
	if err != nil {
		c.server.log.Warn().Err(err).Str("user", c.claims.User).Msg("notes not read, trying again")
	}
	c.decline(q.Group, upTo)
	return wire.AppendOK(nil, r.ID), nil
}

// decline notes that the client does not want a group: neither the notes up to this one, nor a later call that adds its
// user once more, bring it back.
func (c *Conn) decline(group, upTo string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.declined == nil {
		c.declined = make(map[string]string)
	}
	if _, known := c.declined[group]; known || len(c.declined) < maxSubscribed {
		c.declined[group] = upTo
	}
}

// hasDeclined reports whether the client has unsubscribed what the note would subscribe.
func (c *Conn) hasDeclined(n domain.Note) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	upTo, declined := c.declined[n.Group]
	return declined && (len(n.Event) == 0 || !domain.NoteAfter(n.ID, upTo))
}

// forget gives up a feed that has dropped the connection, unless it was subscribed again meanwhile.
func (c *Conn) forget(f *feed) {
	if f.has(c) {
		return
	}
	c.mu.Lock()
	mine := c.feeds[f.group] == f
	if mine {
		delete(c.feeds, f.group)
	}
	c.mu.Unlock()
	if mine {
		c.server.hub.unfollow(f)
	}
}
