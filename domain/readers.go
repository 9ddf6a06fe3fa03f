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
	marks, err := h.marks.ReadMarksAbove(ctx, group, seq)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("read marks of %s: %w", group, err), "Redis")
	}
	rows, err := h.store.Readers(ctx, group, seq, 0)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("readers in %s: %w", group, err), "MySQL")
	}
	users := distinct(append(rows, slices.Collect(maps.Keys(marks))...), message.From())
	if head.Type != Room {
		if users, err = h.membersAmong(ctx, group, users); err != nil {
			return nil, err
		}
	}
	r := &Readers{Seq: seq, Count: len(users)}
	if len(users) <= maxReaderNames {
		r.Users = users
	}
	return r, nil
}

// membersAmong leaves out those who are not members: their marks stay when they go.
func (h *History) membersAmong(ctx context.Context, group string, users []string) ([]string, error) {
	roles, err := h.heads.Roles(ctx, group, users)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(users, func(user string) bool {
		return roles[user] == Outsider || roles[user] == BlockedIn
	}), nil
}

// Roles are the places of users in a group; outsiders are left out.
func (h *History) Roles(ctx context.Context, group string, users []string) (map[string]Role, error) {
	return h.heads.Roles(ctx, group, users)
}
