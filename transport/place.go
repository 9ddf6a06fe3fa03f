package transport

import (
	"context"
	"errors"
	"time"

	"hearth/domain"
	"hearth/transport/wire"
)

// left ends a subscription from before the user went, if the feed has not done so, and tells it. To a client that was let
// in since it is not told: it would read as the end of that.
func (c *Conn) left(n domain.Note) {
	c.mu.Lock()
	f := c.feeds[n.Group]
	c.mu.Unlock()
	if f != nil && f.enteredSince(c, n.Version) {
		c.hears(n.Group, n.Version)
		return
	}
	ended := f != nil && f.endBefore(c, n.Version)
	if !c.tellPlace(n) && ended { // told before, and then came the reply to a subscribe that was read before he went
		f.resync([]*Conn{c})
	}
}

// explainDrop sees that a client whose subscription a feed has found to be out of place learns of it: by the user's
// notes, which come behind the change itself, or else by a resync, to which the answer will tell.
func (c *Conn) explainDrop(f *feed) {
	before := c.toldOf(f.group)
	c.server.hub.work.Go(func() {
		for range dropTries {
			waitOrDone(context.Background(), dropPause)
			ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
			_, err := c.server.hub.readNotesOf(ctx, c.claims.User)
			cancel()
			if err != nil {
				c.server.log.Warn().Err(err).Str("user", c.claims.User).Msg("notes not read, trying again")
			}
			if c.toldOf(f.group) != before || c.isGone() {
				return
			}
		}
		if !f.has(c) {
			c.reply(wire.AppendResync(nil, []wire.Resync{{Group: f.group}}))
		}
	})
}

const (
	dropTries = 4
	dropPause = 250 * time.Millisecond // between looks for the note of a change that is under way
)

// tellPlace tells that the user has come or gone, unless that or something newer was told.
func (c *Conn) tellPlace(n domain.Note) (told bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if told = len(n.Event) > 0 && c.isNews(n.Group, n.Version); told {
		c.enqueue(queued{object: n.Event})
	}
	return told
}

const maxJoinPages = 5 // that are pushed to a connection whose user has joined; behind more it subscribes by itself

// errNoMember ends a catch-up: the user has gone again before it.
var errNoMember = domain.Errorf(domain.CodeGone, "you are not a member any more")

// joined subscribes the connection to a group that its user has joined, from the message behind n.After on: whatever was
// accepted since is pushed, however long this takes. A connection that is subscribed already was quicker.
func (c *Conn) joined(ctx context.Context, n domain.Note) {
	if c.hasDeclined(n) || c.toldOf(n.Group) > n.Version { // nor is it told: it would read as a subscription
		return
	}
	f, followed, err := c.follow(ctx, n.Group)
	if followed && f.has(c) {
		f.tellSubscribed(c, n)
		return
	}
	after := n.After
	if err == nil {
		c.tellPlace(n)
		after, err = c.catchUp(ctx, f, after, n.Version)
	}
	switch code := domain.CodeOf(err); {
	case err == nil:
	case code == domain.CodeGone || code == domain.CodeNotFound: // before we got there
		c.unfollow(n.Group)
	default:
		c.server.log.Warn().Err(err).Str("conn", c.id).Str("group", n.Group).Msg("connection not subscribed to a group that its user has joined")
		c.unfollow(n.Group)
		c.reply(wire.AppendResync(nil, []wire.Resync{{Group: n.Group, AfterSeq: after}}))
	}
}

// catchUp subscribes the connection and pushes what lies between after and the feed's position. version is the group's
// when the user joined; reached is how far it got.
func (c *Conn) catchUp(ctx context.Context, f *feed, after, version int64) (reached int64, err error) {
	if err := f.catchUp(ctx, after); err != nil {
		return after, err
	}
	sub, top := f.hold(c, version) // before the look at the members: whoever goes behind that is dropped by the feed
	head, err := c.server.history.Enter(ctx, c.actor(), f.group)
	if err == nil && head.Role == domain.Outsider || domain.CodeOf(err) == domain.CodeNotMember || domain.CodeOf(err) == domain.CodeForbidden {
		err = errNoMember
	}
	if err != nil {
		f.abandon(c, sub)
		return after, err
	}
	f.letIn(sub, head.Version)
	head.MaxSeq = top
	for range maxJoinPages {
		page, err := c.pageUpTo(ctx, head, after, domain.MaxPage)
		if err != nil {
			f.abandon(c, sub)
			return after, err
		}
		for _, r := range page.Messages {
			if r.Mute != c.id {
				c.reply(wire.MessageBehind(r, after))
			}
			after = r.Seq
		}
		if !page.More {
			f.release(c, sub, nil, top)
			return top, nil
		}
	}
	f.abandon(c, sub)
	return after, domain.Unavailable(errors.New("more was sent than can be pushed at once"), "Redis")
}

// isNews reports whether the user's place in a group at this version is not told yet, and notes that it is now: notes
// may come twice, and those of simultaneous changes in another order than these. c.mu is held.
func (c *Conn) isNews(group string, version int64) bool {
	if version <= c.told[group] {
		return false
	}
	if c.told == nil {
		c.told = make(map[string]int64)
	}
	c.told[group] = version
	return true
}

// hears is isNews for who does not hold c.mu.
func (c *Conn) hears(group string, version int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isNews(group, version)
}

// toldOf is the version of a group whose event of the user's coming or going was the last that he was told.
func (c *Conn) toldOf(group string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told[group]
}

// lastWord tells the event that ended a subscription while its page was read, if one did.
func (c *Conn) lastWord(sub *subscription) {
	if sub.last != nil {
		c.reply(sub.last)
		sub.last = nil
	}
}
