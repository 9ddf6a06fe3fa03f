package domain

import (
	"context"
	"encoding/json"
)

// Bus carries events to connections on whatever instance. Events have no seq: whoever is not there does not get them.
type Bus interface {
	// ToGroups hands an event to the subscribers of groups, but for one connection ("" for none).
	ToGroups(ctx context.Context, groups []string, except string, event []byte) error
	// ToUser hands an event to all connections of a user, but for one ("" for none).
	ToUser(ctx context.Context, user, except string, event []byte) error
}

// Changes that a GroupEvent tells of.
const (
	ChangeCreated   = "created"
	ChangeUpdated   = "updated"
	ChangeJoined    = "joined"
	ChangeLeft      = "left"
	ChangeRemoved   = "removed"
	ChangeRole      = "role"
	ChangeMuted     = "muted"
	ChangeDismissed = "dismissed"
)

// GroupEvent is the event group, as clients get it.
type GroupEvent struct {
	Group  string
	Change string
	User   string // whom it concerns; "" for the group as a whole
	By     string // user or key that did it; "" when it was User himself
	Role   Role   // with ChangeRole

	MuteUntilMS *int64 // with ChangeMuted; 0: not muted any more
}

// toUser tells that whom it concerns gets it on all his connections, whether they are subscribed or not.
func (e GroupEvent) toUser() bool { return e.Change == ChangeRole || e.Change == ChangeMuted }

// JSON is the event's encoded form. Ids need no escaping, but encoding/json costs little here.
func (e GroupEvent) JSON() []byte {
	return encodeEvent(struct {
		Event  string `json:"event"`
		Group  string `json:"group"`
		Change string `json:"change"`
		User   string `json:"user,omitempty"`
		By     string `json:"by,omitempty"`
		Role   Role   `json:"role,omitempty"`
		Until  *int64 `json:"mute_until_ms,omitempty"`
	}{"group", e.Group, e.Change, e.User, e.By, e.Role, e.MuteUntilMS})
}

// ReadEvent is the event read: how far a user has read in a group.
type ReadEvent struct {
	Group string
	User  string
	Seq   int64
}

// JSON is the event's encoded form.
func (e ReadEvent) JSON() []byte {
	return encodeEvent(struct {
		Event string `json:"event"`
		Group string `json:"group"`
		User  string `json:"user"`
		Seq   int64  `json:"seq"`
	}{"read", e.Group, e.User, e.Seq})
}

// PresenceEvent is the event presence, told to those who share a direct conversation with the user.
type PresenceEvent struct {
	User   string
	Online bool
}

// JSON is the event's encoded form.
func (e PresenceEvent) JSON() []byte {
	return encodeEvent(struct {
		Event  string `json:"event"`
		User   string `json:"user"`
		Online bool   `json:"online"`
	}{"presence", e.User, e.Online})
}

func encodeEvent(v any) []byte {
	encoded, _ := json.Marshal(v) // structs of strings and numbers always marshal
	return encoded
}
