package domain

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Record is a stored message as it travels: everything that needs no look is kept as the bytes clients get,
// so that no hop encodes a message again.
type Record struct {
	Group  string
	Seq    int64
	TimeMS int64
	// Tail is the message's JSON behind seq, closing brace included:
	// `"time_ms":1700000000000,"from":"u1","body":[…]}`.
	Tail []byte
	// Mute is the connection that asked for no push of it; known only while the message is recent. It travels in no
	// JSON.
	Mute string
	// Hash is the content hash where the body was replaced, and it does not follow from it; "" for most. It is known only
	// while the message is recent, and travels in no JSON.
	Hash string
}

// AppendJSON appends the message as PROTOCOL.md §3 shows it: {"group","seq","time_ms","from",…}.
func (r Record) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"group":"`...)
	dst = append(dst, r.Group...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendInt(dst, r.Seq, 10)
	dst = append(dst, ',')
	return append(dst, r.Tail...)
}

// MarshalJSON is AppendJSON for encoders that ask.
func (r Record) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// From is the sender.
func (r Record) From() string {
	_, rest, _ := bytes.Cut(r.Tail, []byte(`"from":"`))
	from, _, _ := bytes.Cut(rest, []byte{'"'}) // it stands before what clients can put in
	return string(from)
}

// Recalled tells when and by whom the message was recalled; 0 when it was not.
func (r Record) Recalled() (ms int64, by string) {
	if bytes.Contains(r.Tail, bodyField) {
		return 0, ""
	}
	m, err := MessageOf(r)
	if err != nil {
		return 0, ""
	}
	return m.RecalledMS, m.RecalledBy
}

// Size is at least the number of bytes AppendJSON adds, and at most 15 more: every seq counts as 16 digits.
func (r Record) Size() int { return len(`{"group":"","seq":,`) + len(r.Group) + 16 + len(r.Tail) }

var (
	tailTime  = []byte(`"time_ms":`)
	bodyField = []byte(`,"body":`) // what stands before it holds ids and numbers only
)

// RecordFromTail makes a Record of its stored form; the time is read off the tail.
func RecordFromTail(group string, seq int64, tail []byte) (Record, error) {
	rest, ok := bytes.CutPrefix(tail, tailTime)
	end := bytes.IndexByte(rest, ',')
	if !ok || end < 0 {
		return Record{}, fmt.Errorf("message %s/%d: tail does not start with a time", group, seq)
	}
	ms, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	if err != nil {
		return Record{}, fmt.Errorf("message %s/%d: time: %w", group, seq, err)
	}
	return Record{Group: group, Seq: seq, TimeMS: ms, Tail: tail}, nil
}

// Message is a stored message taken apart: what the write-behind log brings to MySQL and what a row holds.
type Message struct {
	Group     string
	Seq       int64
	TimeMS    int64
	Gen       int64
	GroupType GroupType
	Header
	Body []byte // compact JSON array of elements; nil in a tombstone
	Hash string // content hash, see ContentHash
}

// Header is what a message says beside its body.
type Header struct {
	From       string   `json:"from"`
	ClientID   string   `json:"client_id,omitempty"`
	Mentions   []string `json:"mentions,omitempty"`
	ReplyTo    int64    `json:"reply_to,omitempty"`
	Operator   string   `json:"operator,omitempty"` // key id of the app server that sent it
	RecalledMS int64    `json:"recalled_ms,omitempty"`
	RecalledBy string   `json:"recalled_by,omitempty"`
}

// AppendJSON appends the fields without braces: `"from":"u1","client_id":"c1"`. Every value is an id or a
// number, so nothing needs escaping.
func (h *Header) AppendJSON(dst []byte) []byte {
	dst = append(dst, `"from":"`...)
	dst = append(dst, h.From...)
	dst = append(dst, '"')
	dst = appendIDField(dst, `,"client_id":"`, h.ClientID)
	if len(h.Mentions) > 0 {
		dst = append(dst, `,"mentions":["`...)
		for i, user := range h.Mentions {
			if i > 0 {
				dst = append(dst, `","`...)
			}
			dst = append(dst, user...)
		}
		dst = append(dst, `"]`...)
	}
	dst = appendIntField(dst, `,"reply_to":`, h.ReplyTo)
	dst = appendIDField(dst, `,"operator":"`, h.Operator)
	dst = appendIntField(dst, `,"recalled_ms":`, h.RecalledMS)
	return appendIDField(dst, `,"recalled_by":"`, h.RecalledBy)
}

func appendIDField(dst []byte, key, id string) []byte {
	if id == "" {
		return dst
	}
	dst = append(dst, key...)
	dst = append(dst, id...)
	return append(dst, '"')
}

func appendIntField(dst []byte, key string, n int64) []byte {
	if n == 0 {
		return dst
	}
	dst = append(dst, key...)
	return strconv.AppendInt(dst, n, 10)
}

// ParseHeader reads what Header.AppendJSON wrote.
func ParseHeader(fields []byte) (h Header, err error) {
	object := make([]byte, 0, len(fields)+2)
	object = append(append(append(object, '{'), fields...), '}')
	if err := json.Unmarshal(object, &h); err != nil {
		return Header{}, fmt.Errorf("message header: %w", err)
	}
	return h, nil
}

// Record is the message in the form in which it travels. A tombstone has no body.
func (m *Message) Record() Record {
	tail := make([]byte, 0, 128+len(m.Body))
	tail = append(tail, tailTime...)
	tail = strconv.AppendInt(tail, m.TimeMS, 10)
	tail = append(tail, ',')
	tail = m.Header.AppendJSON(tail)
	if m.RecalledMS == 0 {
		tail = append(tail, `,"body":`...)
		tail = append(tail, m.Body...)
	}
	tail = append(tail, '}')
	r := Record{Group: m.Group, Seq: m.Seq, TimeMS: m.TimeMS, Tail: tail}
	if isReplaced(m.Hash) {
		r.Hash = m.Hash
	}
	return r
}

// MessageOf takes a record apart again; its generation and group type are not in it.
func MessageOf(r Record) (Message, error) {
	m := Message{Group: r.Group, Seq: r.Seq}
	if err := m.readTail(r.Tail); err != nil {
		return m, fmt.Errorf("message %s/%d: %w", r.Group, r.Seq, err)
	}
	m.Hash = r.Hash
	if m.Hash == "" {
		m.Hash = ContentHash(m.Body, m.Mentions, m.ReplyTo)
	}
	return m, nil
}

// readTail reads a message's JSON from its time on; what stands before it is skipped.
func (m *Message) readTail(tail []byte) error {
	at := bytes.Index(tail, tailTime) // ids before it have no quotes
	if at < 0 {
		return errors.New("a tail without a time")
	}
	var fields struct {
		TimeMS int64 `json:"time_ms"`
		Header
		Body json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(slices.Concat([]byte{'{'}, tail[at:]), &fields); err != nil {
		return err
	}
	m.TimeMS, m.Header, m.Body = fields.TimeMS, fields.Header, fields.Body
	return nil
}

// CompareMessages orders by group and seq: transactions that lock overlapping rows in different orders deadlock.
func CompareMessages(a, b *Message) int {
	if a.Group != b.Group {
		return strings.Compare(a.Group, b.Group)
	}
	return cmp.Compare(a.Seq, b.Seq)
}
