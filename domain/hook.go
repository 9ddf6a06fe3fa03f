package domain

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
)

// Events that webhooks are told, behind the fact.
const (
	HookAfterSend     = "after_send"
	HookRecalled      = "recalled"
	HookGroupChanged  = "group_changed"
	HookMemberChanged = "member_changed"
)

// Hook is an event as the webhooks' receiver gets it.
type Hook struct {
	ID     string // the same however often it is told
	Event  string
	TimeMS int64 // when it happened
	Data   json.RawMessage
}

// hookID names an event by what it is about. Group ids may hold dots, which the ids of webhooks must not.
func hookID(event, group string, parts ...int64) string {
	name := event + "\x00" + group
	for _, p := range parts {
		name += "\x00" + strconv.FormatInt(p, 10)
	}
	sum := sha256.Sum256([]byte(name))
	return "msg_" + hex.EncodeToString(sum[:16])
}

// UntoldMessage is a row that is to be told.
type UntoldMessage struct {
	Record
	StoredMS int64 // when it became a row
}

// Hook is the event after_send. Of a message that was recalled meanwhile it has the tombstone.
func (m *UntoldMessage) Hook() Hook {
	return Hook{ID: hookID(HookAfterSend, m.Group, m.Seq), Event: HookAfterSend, TimeMS: m.TimeMS, Data: m.AppendJSON(nil)}
}

// Untold is how far the messages of a group were told, and the next of them.
type Untold struct {
	Told     int64 // everything up to here was told or given up
	Last     int64 // the highest seq there is to tell
	Messages []UntoldMessage
	Holes    Holes // all of the group; only read where there is a gap
}

// OutboxRow is something to tell that has a row of its own: what is no message, and messages out of their turn.
type OutboxRow struct {
	ID       int64
	Group    string
	Event    string
	From, To int64           // seqs; of after_send a range, of recalled the one; of a change To is the last message before it
	Data     json.RawMessage // none for after_send: the messages are rows
	TimeMS   int64           // when it happened
	NextMS   int64           // since when it is to be told
	DeadMS   int64           // when it was given up; 0: it was not
	Reason   string          // why
}

// Hook is the event; not of after_send, which is an event for each message.
func (r *OutboxRow) Hook() Hook {
	return Hook{ID: hookID(r.Event, r.Group, r.ID, r.TimeMS), Event: r.Event, TimeMS: r.TimeMS, Data: r.Data}
}

// RecalledHook is what is told of a recall.
func RecalledHook(r Recall) OutboxRow {
	data := encodeEvent(struct {
		Group  string `json:"group"`
		Seq    int64  `json:"seq"`
		By     string `json:"by"`
		TimeMS int64  `json:"time_ms"`
	}{r.Group, r.Seq, r.By, r.TimeMS})
	return OutboxRow{Group: r.Group, Event: HookRecalled, From: r.Seq, To: r.Seq, Data: data, TimeMS: r.TimeMS}
}

// changedHook is what is told of a change: what the event group says, and of a group that was made or updated how it is now.
type changedHook struct {
	Group  string `json:"group"`
	Change string `json:"change"`
	User   string `json:"user,omitempty"`
	By     string `json:"by,omitempty"`
	Role   Role   `json:"role,omitempty"`
	Until  *int64 `json:"mute_until_ms,omitempty"`
	*groupHook
}

type groupHook struct {
	Type        GroupType       `json:"type"`
	Name        string          `json:"name"`
	Avatar      string          `json:"avatar"`
	Join        string          `json:"join"`
	Owner       string          `json:"owner"`
	Attributes  json.RawMessage `json:"attributes,omitempty"`
	Muted       bool            `json:"muted"`
	MemberLimit int             `json:"member_limit"`
	MemberCount int             `json:"member_count"`
	CreatedMS   int64           `json:"created_ms"`
}

// Hooks are what the webhooks are told of a change, in order; their times are whoever's keeps them.
func (c *GroupChange) Hooks() []OutboxRow {
	rows := make([]OutboxRow, 0, len(c.Events))
	for _, e := range c.Events {
		hook := changedHook{Group: e.Group, Change: e.Change, User: e.User, By: e.By, Role: e.Role, Until: e.MuteUntilMS}
		row := OutboxRow{Group: e.Group, Event: HookMemberChanged}
		if e.User == "" {
			row.Event = HookGroupChanged
		}
		if e.Change == ChangeCreated || e.Change == ChangeUpdated {
			hook.groupHook = &groupHook{
				Type: c.Type, Name: c.Name, Avatar: c.Avatar, Join: c.Join, Owner: c.Owner, Attributes: c.Attributes,
				Muted: c.Muted, MemberLimit: c.MemberLimit, MemberCount: c.MemberCount, CreatedMS: c.CreatedMS,
			}
		}
		row.Data = encodeEvent(hook)
		rows = append(rows, row)
	}
	return rows
}
