package client

import (
	"encoding/json"
	"strings"
)

// Message is a stored message. A recalled one is a tombstone: it has RecalledMS and no Body.
type Message struct {
	Group      string          `json:"group"`
	Seq        int64           `json:"seq"`
	TimeMS     int64           `json:"time_ms"`
	From       string          `json:"from"`
	ClientID   string          `json:"client_id,omitempty"`
	Mentions   []string        `json:"mentions,omitempty"`
	ReplyTo    int64           `json:"reply_to,omitempty"`
	Operator   string          `json:"operator,omitempty"` // id of the app server's key that sent it
	RecalledMS int64           `json:"recalled_ms,omitempty"`
	RecalledBy string          `json:"recalled_by,omitempty"`
	Body       json.RawMessage `json:"body,omitempty"`
}

// Text is what the message's text elements say, a line each; "" when it has none.
func (m *Message) Text() string {
	var elements []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(m.Body, &elements) != nil {
		return ""
	}
	var lines []string
	for _, e := range elements {
		if e.Type == "text" {
			lines = append(lines, e.Text)
		}
	}
	return strings.Join(lines, "\n")
}

// Hole is a range of seqs without messages, both ends inclusive.
type Hole struct {
	From   int64  `json:"from"`
	To     int64  `json:"to"`
	Reason string `json:"reason"` // "lost" or "expired"; "" where a push told of the hole, which gives no reason
}

// Page is what subscribe and pull answer, ascending. Role, ReadSeq, Unread and PersistedSeq come with subscribe only,
// MinSeq with pull only.
type Page struct {
	Group        string    `json:"group"`
	Role         string    `json:"role"` // "" for a room that the user has not joined
	MaxSeq       int64     `json:"max_seq"`
	MinSeq       int64     `json:"min_seq"`
	ReadSeq      int64     `json:"read_seq"`
	Unread       int64     `json:"unread"`
	PersistedSeq int64     `json:"persisted_seq"`
	Messages     []Message `json:"messages"`
	Holes        []Hole    `json:"holes"`
	More         bool      `json:"more"`
}
