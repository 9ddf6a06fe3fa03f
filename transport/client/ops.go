package client

import (
	"context"
	"encoding/json"
)

// Do makes a request and reads its ok into out. fields are the request's beside id and op: a struct, a map or nil; out
// may be nil. It waits for a connection until ctx ends. A refusal is an *Error, and so is a lost answer: unavailable, after
// which the request may have been done.
func (c *Client) Do(ctx context.Context, op string, fields, out any) error {
	request, err := encodeRequest(op, fields)
	if err != nil {
		return err
	}
	return c.ask(ctx, request, out)
}

func (c *Client) ask(ctx context.Context, request []byte, out any) error {
	n, err := c.connected(ctx)
	if err != nil {
		return err
	}
	answered := make(chan reply, 1)
	id := n.ask(request, func(r reply) { answered <- r })
	select {
	case r := <-answered:
		return r.into(out)
	case <-ctx.Done():
		n.forget(id)
		return ctx.Err()
	}
}

// PullQuery is what a pull asks for; of AfterSeq, BeforeSeq and BeforeMS at most one is set, none means the newest page.
type PullQuery struct {
	Group     string `json:"group"`
	AfterSeq  *int64 `json:"after_seq,omitempty"`
	BeforeSeq *int64 `json:"before_seq,omitempty"`
	BeforeMS  *int64 `json:"before_ms,omitempty"`
	Limit     int    `json:"limit,omitempty"` // 0: the server's 50; above 200: 200
}

// Pull reads a page of a group's history.
func (c *Client) Pull(ctx context.Context, q PullQuery) (p Page, err error) {
	err = c.Do(ctx, "pull", q, &p)
	return p, err
}

// ReadMark is how far a user has read.
type ReadMark struct {
	Group   string `json:"group"`
	ReadSeq int64  `json:"read_seq"`
	Unread  int64  `json:"unread"`
}

// Read moves the user's read mark forward to seq.
func (c *Client) Read(ctx context.Context, group string, seq int64) (m ReadMark, err error) {
	err = c.Do(ctx, "read", map[string]any{"group": group, "seq": seq}, &m)
	return m, err
}

// SyncQuery asks for messages of many groups, or without Groups for the heads of all the user's groups.
type SyncQuery struct {
	Groups   map[string]int64 `json:"groups,omitempty"` // group → after_seq, at most 200
	Limit    int              `json:"limit,omitempty"`
	MaxBytes int              `json:"max_bytes,omitempty"`
	Cursor   string           `json:"cursor,omitempty"`
}

// SyncPage is the answer; Cursor is set when there are more heads.
type SyncPage struct {
	Results []SyncResult `json:"results"`
	Cursor  string       `json:"cursor"`
}

// SyncResult is a page of one group, the error that stands for it, or its head.
type SyncResult struct {
	Page
	Error *Error `json:"error"`

	Type         string   `json:"type"`
	Name         string   `json:"name"`
	MentionedSeq int64    `json:"mentioned_seq"`
	LastMessage  *Message `json:"last_message"`
}

// Sync reads from many groups at once.
func (c *Client) Sync(ctx context.Context, q SyncQuery) (p SyncPage, err error) {
	err = c.Do(ctx, "sync", q, &p)
	return p, err
}

// Presence is whether a user is there, and when he last was.
type Presence struct {
	Online     bool     `json:"online"`
	Devices    []string `json:"devices"`
	LastSeenMS int64    `json:"last_seen_ms"`
}

// Presence asks after at most 200 users.
func (c *Client) Presence(ctx context.Context, users ...string) (map[string]Presence, error) {
	var answer struct {
		Users map[string]Presence `json:"users"`
	}
	err := c.Do(ctx, "presence", map[string]any{"users": users}, &answer)
	return answer.Users, err
}

// Signal is what is told to those who are there, and not stored. Either Group or To is set.
type Signal struct {
	Group string          `json:"group,omitempty"`
	To    string          `json:"to,omitempty"`
	Kind  string          `json:"kind"`
	Data  json.RawMessage `json:"data,omitempty"`
}

// Signal sends a signal; it is not repeated when the answer is lost.
func (c *Client) Signal(ctx context.Context, s Signal) error { return c.Do(ctx, "signal", s, nil) }
