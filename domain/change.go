package domain

import (
	"context"
	"fmt"
	"time"
)

const (
	// changeTimeout bounds how long a change that MySQL has is brought to Redis.
	changeTimeout = 10 * time.Second
	// appliedTimeout bounds how long whoever waits for a change waits for it to be forgotten.
	appliedTimeout = time.Second
)

// Repeat brings a change to Redis that was kept because nobody is known to have done so. Versions make it harmless when
// somebody has; the notices are told once more. Notes have no version in the list of a user's groups: those that a later change
// has made untrue are left out.
func (g *Groups) Repeat(ctx context.Context, c *GroupChange) error {
	for user, note := range c.Notes {
		if note.Kind != NoteJoined && note.Kind != NoteLeft {
			continue
		}
		now, err := g.store.Member(ctx, c.ID, user)
		if err != nil {
			return asStoreError(err, "read member of "+c.ID)
		}
		if now.Role.IsMember() != (note.Kind == NoteJoined) && !c.Dismissed {
			delete(c.Notes, user)
		}
	}
	return g.bring(ctx, c)
}

// bring brings to Redis what MySQL has and tells it, with a time of its own: MySQL may have used up the caller's. A change
// that does not get there is kept, and repeated by the job.
func (g *Groups) bring(ctx context.Context, c *GroupChange) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
	defer cancel()
	if !c.Created {
		if err := g.cache.Changed(ctx, c); err != nil {
			return Unavailable(fmt.Errorf("cache change of %s: %w", c.ID, err), "Redis")
		}
	}
	if len(c.Notes) > 0 {
		if err := g.notes.Tell(ctx, c.Notes); err != nil {
			return Unavailable(fmt.Errorf("notes for %d users: %w", len(c.Notes), err), "Redis")
		}
	}
	for _, e := range c.Events {
		if !e.toUser() {
			continue
		}
		if err := g.cache.ToUser(ctx, e.User, "", e.JSON()); err != nil {
			return Unavailable(fmt.Errorf("tell a member of %s: %w", c.ID, err), "Redis")
		}
	}
	g.applied(ctx, c)
	return nil
}

// applied forgets a change. When that fails the job repeats what is there already.
func (g *Groups) applied(ctx context.Context, c *GroupChange) {
	if c.Kept == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, appliedTimeout)
	defer cancel()
	_ = g.store.Applied(ctx, c)
}
