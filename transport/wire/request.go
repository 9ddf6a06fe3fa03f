package wire

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"hearth/domain"
)

// ID is a request's id, 0…2^53-1, as the client wrote it; NoID when it gave none.
type ID int64

// NoID stands for a request without an id; its reply has none either.
const NoID ID = -1

// Request is one object of a client's frame, looked at as far as its op.
type Request struct {
	ID  ID
	Op  string
	raw []byte
}

// Clone is the request with bytes of its own, for when the frame's buffer is used again.
func (r Request) Clone() Request {
	r.raw = bytes.Clone(r.raw)
	return r
}

// Objects splits a frame into its objects, one a line; empty lines do not count. A frame without any has none.
func Objects(frame []byte) [][]byte {
	if bytes.IndexByte(frame, '\n') < 0 { // the usual frame
		if line := bytes.TrimSpace(frame); len(line) > 0 {
			return [][]byte{line}
		}
		return nil
	}
	var objects [][]byte
	for line := range bytes.SplitSeq(frame, []byte{'\n'}) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			objects = append(objects, line)
		}
	}
	return objects
}

// ParseRequest takes a first look at an object. ok is false when it is not an object with an op: such frames are
// counted. An error may also be about the id alone; then ok is true and ID is NoID.
func ParseRequest(object []byte) (r Request, ok bool, err error) {
	var first struct {
		ID jsontext.Value `json:"id"`
		Op jsontext.Value `json:"op"`
	}
	r = Request{ID: NoID, raw: object}
	if err := decodeLoose(object, &first); err != nil {
		return r, false, domain.Errorf(domain.CodeBadRequest, "a frame holds JSON objects, one a line")
	}
	r.ID, err = parseID(first.ID)
	if first.Op == nil {
		return r, false, domain.BadField("op", "is required")
	}
	op, opErr := jsontext.AppendUnquote(nil, first.Op)
	if opErr != nil || len(op) == 0 {
		return r, false, domain.BadField("op", "must be the name of an op")
	}
	r.Op = string(op)
	return r, true, err
}

func parseID(raw jsontext.Value) (ID, error) {
	if raw == nil {
		return NoID, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 0 || n >= 1<<53 || raw.Kind() != '0' {
		return NoID, domain.BadField("id", "must be an integer from 0 to 2^53-1")
	}
	return ID(n), nil
}

// Decode reads the request's fields into one of the …Request types, strictly.
func (r *Request) Decode(v any) error {
	return decodeError(json.Unmarshal(r.raw, v, json.RejectUnknownMembers(true)), "")
}

// envelope is what every request has; embedded, its names are the request's.
type envelope struct {
	ID jsontext.Value `json:"id"`
	Op string         `json:"op"`
}

// SendRequest is the op send.
type SendRequest struct {
	envelope
	Group     *string        `json:"group"`
	To        *string        `json:"to"`
	Body      jsontext.Value `json:"body"`
	ClientID  *string        `json:"client_id"`
	Ack       *string        `json:"ack"`
	TimeoutMS *int64         `json:"timeout_ms"`
	Echo      *bool          `json:"echo"`
	Mentions  []string       `json:"mentions"`
	ReplyTo   *int64         `json:"reply_to"`
	Priority  *string        `json:"priority"`
}

// SignalRequest is the op signal.
type SignalRequest struct {
	envelope
	Group *string        `json:"group"`
	To    *string        `json:"to"`
	Kind  string         `json:"kind"`
	Data  jsontext.Value `json:"data"`
}

// SubscribeRequest is the op subscribe.
type SubscribeRequest struct {
	envelope
	Group    string `json:"group"`
	AfterSeq *int64 `json:"after_seq"`
	Limit    *int   `json:"limit"`

	RecalledAfterMS *int64 `json:"recalled_after_ms"`
}

// GroupRequest is the op unsubscribe.
type GroupRequest struct {
	envelope
	Group string `json:"group"`
}

// SyncRequest is the op sync. Groups is nil when the field is missing.
type SyncRequest struct {
	envelope
	Groups   map[string]int64 `json:"groups"`
	Limit    *int             `json:"limit"`
	MaxBytes *int             `json:"max_bytes"`
	Cursor   *string          `json:"cursor"`

	RecalledAfterMS *int64 `json:"recalled_after_ms"`
}

// PullRequest is the op pull.
type PullRequest struct {
	envelope
	Group     string `json:"group"`
	AfterSeq  *int64 `json:"after_seq"`
	BeforeSeq *int64 `json:"before_seq"`
	BeforeMS  *int64 `json:"before_ms"`
	Limit     *int   `json:"limit"`

	RecalledAfterMS *int64 `json:"recalled_after_ms"`
}

// ReadRequest is the op read.
type ReadRequest struct {
	envelope
	Group string `json:"group"`
	Seq   *int64 `json:"seq"`
}

// RecallRequest is the op recall.
type RecallRequest struct {
	envelope
	Group string `json:"group"`
	Seq   *int64 `json:"seq"`
}

// PresenceRequest is the op presence.
type PresenceRequest struct {
	envelope
	Users []string `json:"users"`
}

// HotRequest is the op hot.
type HotRequest struct {
	envelope
	Watch *bool `json:"watch"`
	Limit *int  `json:"limit"`
}

// RefreshRequest is the op refresh.
type RefreshRequest struct {
	envelope
	Token *string `json:"token"`
}

// PingRequest is the op ping.
type PingRequest struct{ envelope }
