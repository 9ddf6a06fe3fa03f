package client

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Draft is a message to be sent. Either Group or To, a user, is set.
type Draft struct {
	Group string
	To    string
	Body  json.RawMessage // array of elements; Text makes one
	// ClientID is what the server knows a repetition by, for ten minutes. Empty: a new one.
	ClientID string
	Mentions []string
	ReplyTo  int64
	Ack      string        // accepted, durable or both; empty: accepted
	Timeout  time.Duration // of the wait for durable; 0: the server's
	Priority string        // high, normal or low; empty: normal
}

// Text is the body of a plain text.
func Text(text string) json.RawMessage {
	type element struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	body, _ := marshal([]element{{"text", text}}) // texts always marshal
	return body
}

// Receipt is what the server says of a message that it took.
type Receipt struct {
	Group        string `json:"group"`
	Seq          int64  `json:"seq"`
	TimeMS       int64  `json:"time_ms"`
	Duplicate    bool   `json:"duplicate"` // an earlier attempt had got there
	Durable      bool   `json:"durable"`
	PersistedSeq int64  `json:"persisted_seq"`
	PeerOnline   *bool  `json:"peer_online"` // in direct conversations
}

// sendFields are those of the op send. There is no echo:false: the pushes would have gaps that only the ack explains.
type sendFields struct {
	Group     string          `json:"group,omitempty"`
	To        string          `json:"to,omitempty"`
	Body      json.RawMessage `json:"body"`
	ClientID  string          `json:"client_id"`
	Mentions  []string        `json:"mentions,omitempty"`
	ReplyTo   int64           `json:"reply_to,omitempty"`
	Ack       string          `json:"ack,omitempty"`
	TimeoutMS int64           `json:"timeout_ms,omitempty"`
	Priority  string          `json:"priority,omitempty"`
}

// Send sends a message once: it repeats it with the same client_id, over other connections too, until the server says
// yes or a no that stays (an *Error), or ctx ends. After the end of ctx the message may have been sent or not. Sends may
// go on side by side; those that wait for each other keep their order.
func (c *Client) Send(ctx context.Context, d Draft) (Receipt, error) {
	if d.ClientID == "" {
		d.ClientID = uuid.NewString()
	}
	request, err := encodeRequest("send", sendFields{
		Group: d.Group, To: d.To, Body: d.Body, ClientID: d.ClientID, Mentions: d.Mentions, ReplyTo: d.ReplyTo,
		Ack: d.Ack, TimeoutMS: d.Timeout.Milliseconds(), Priority: d.Priority,
	})
	if err != nil {
		return Receipt{}, err
	}
	var wait backoff
	for {
		var r Receipt
		err := c.ask(ctx, request, &r)
		refused, again := retryable(err)
		if !again {
			return r, err
		}
		delay := refused.RetryAfter
		if delay <= 0 && refused != errLost { // which waits for the next connection anyway
			delay = wait.next()
		}
		if !pause(ctx, delay) {
			return Receipt{}, stopped(ctx, err)
		}
	}
}
