package domain

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

const maxReaderNames = 100 // who read is told by name up to this many

// Readers are those whose read mark has reached a message, without its sender.
type Readers struct {
	Seq   int64
	Count int
	Users []string // sorted; nil when they are too many to be named
}

// ReaderQuery asks who has read a message.
type ReaderQuery struct {
	Group   string
	Seq     int64
	Without string   // does not count: the sender
	Members bool     // only members count: marks stay when they go
	Pending []string // have read it, whatever their marks in MySQL say
	Names   int      // up to so many are named
}

// Readers tells who has read a message: members, and in a room whoever keeps a mark there.
func (h *History) Readers(ctx context.Context, actor Actor, group string, seq int64) (*Readers, error) {
	message, err := h.One(ctx, actor, group, seq)
	if err != nil {
		return nil, err
	}
	head, err := h.Head(ctx, group)
	if err != nil {
		return nil, err
	}
	pending, err := h.marks.ReadMarksAbove(ctx, group, seq)
	if CodeOf(err) == CodeUnavailable {
		return nil, err
	}
	if err != nil {
		return nil, Unavailable(fmt.Errorf("read marks of %s: %w", group, err), "Redis")
	}
	count, users, err := h.store.Readers(ctx, ReaderQuery{
		Group: group, Seq: seq, Without: message.From(), Members: head.Type != Room,
		Pending: slices.Collect(maps.Keys(pending)), Names: maxReaderNames,
	})
	if err != nil {
		return nil, Unavailable(fmt.Errorf("readers in %s: %w", group, err), "MySQL")
	}
	return &Readers{Seq: seq, Count: count, Users: users}, nil
}

// Roles are the places of users in a group; outsiders are left out.
func (h *History) Roles(ctx context.Context, group string, users []string) (map[string]Role, error) {
	return h.heads.Roles(ctx, group, users)
}
