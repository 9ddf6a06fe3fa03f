package wire

import (
	"bytes"
	"strconv"
	"time"

	"hearth/domain"
)

// Welcome is the first event of a connection.
type Welcome struct {
	Conn, User, Instance string
	NowMS                int64
	PingInterval         time.Duration
	Subscribed           int
	SubscribedAll        bool
	MessageBytes         int
}

// Append appends the event.
func (w *Welcome) Append(dst []byte) []byte {
	dst = append(dst, `{"event":"welcome","conn":"`...)
	dst = append(dst, w.Conn...)
	dst = append(dst, `","user":"`...)
	dst = append(dst, w.User...)
	dst = append(dst, `","instance":`...)
	dst = appendString(dst, w.Instance)
	dst = appendInt(dst, "time_ms", w.NowMS)
	dst = appendInt(dst, "ping_interval_ms", w.PingInterval.Milliseconds())
	dst = appendInt(dst, "subscribed", int64(w.Subscribed))
	dst = append(dst, `,"subscribed_all":`...)
	dst = strconv.AppendBool(dst, w.SubscribedAll)
	dst = append(dst, `,"limits":{"message_bytes":`...)
	dst = strconv.AppendInt(dst, int64(w.MessageBytes), 10)
	dst = appendInt(dst, "page", domain.MaxPage)
	return append(dst, `}}`...)
}

const messageEvent = `{"event":"message",`

// MessageBehind is a message event that follows on another seq: those between are a hole.
func MessageBehind(r domain.Record, prevSeq int64) []byte {
	event := AppendMessage(nil, r)
	if prevSeq == r.Seq-1 {
		return event
	}
	return WithPrevSeq(event, prevSeq)
}

// AppendMessage appends a message event.
func AppendMessage(dst []byte, r domain.Record) []byte {
	dst = append(dst, `{"event":"message"`...)
	brace := len(dst)
	dst = r.AppendJSON(dst)
	dst[brace] = ','
	return dst
}

// WithPrevSeq puts prev_seq into an encoded message event: the seqs between are a hole.
func WithPrevSeq(event []byte, prevSeq int64) []byte {
	rest, ok := bytes.CutPrefix(event, []byte(messageEvent))
	if !ok {
		return event // not a message event: there is nothing to put it into
	}
	dst := make([]byte, 0, len(event)+32)
	dst = append(dst, messageEvent...)
	dst = append(dst, `"prev_seq":`...)
	dst = strconv.AppendInt(dst, prevSeq, 10)
	dst = append(dst, ',')
	return append(dst, rest...)
}

// AppendDurable appends the event that a message's row is committed.
func AppendDurable(dst []byte, group string, seq int64) []byte {
	dst = append(dst, `{"event":"durable","group":"`...)
	dst = append(dst, group...)
	dst = append(dst, '"')
	dst = appendInt(dst, "seq", seq)
	return append(dst, '}')
}

// AppendGoodbye appends the event before a close. reconnectAfter 0 leaves its field out.
func AppendGoodbye(dst []byte, code int, reason string, reconnectAfter time.Duration) []byte {
	dst = append(dst, `{"event":"goodbye"`...)
	dst = appendInt(dst, "code", int64(code))
	dst = append(dst, `,"reason":`...)
	dst = appendString(dst, reason)
	if reconnectAfter > 0 {
		dst = appendInt(dst, "reconnect_after_ms", reconnectAfter.Milliseconds())
	}
	return append(dst, '}')
}

// AppendTokenExpiring appends the warning that a connection's token ends soon.
func AppendTokenExpiring(dst []byte, expiresMS int64) []byte {
	dst = append(dst, `{"event":"token_expiring"`...)
	dst = appendInt(dst, "expires_ms", expiresMS)
	return append(dst, '}')
}

// AppendHot appends the event hot: a first page of the ranking, and the window in which heat is counted.
func AppendHot(dst []byte, p *domain.HotPage, window time.Duration) []byte {
	dst = append(dst, `{"event":"hot","snapshot":`...)
	dst = appendString(dst, p.ID)
	dst = appendInt(dst, "time_ms", p.TimeMS)
	dst = appendInt(dst, "window_ms", window.Milliseconds())
	dst = append(dst, `,"groups":[`...)
	for i := range p.Entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendHotEntry(dst, &p.Entries[i])
	}
	dst = append(dst, ']')
	if p.Cursor != "" {
		dst = append(dst, `,"cursor":`...)
		dst = appendString(dst, p.Cursor)
	}
	return append(dst, '}')
}

func appendHotEntry(dst []byte, e *domain.HotEntry) []byte {
	dst = append(dst, `{"rank":`...)
	dst = strconv.AppendInt(dst, int64(e.Rank), 10)
	dst = append(dst, `,"group":"`...)
	dst = append(dst, e.Group...)
	dst = append(dst, `","name":`...)
	dst = appendString(dst, e.Name)
	dst = append(dst, `,"type":"`...)
	dst = append(dst, e.Type...)
	dst = append(dst, '"')
	dst = appendInt(dst, "heat", int64(e.Heat))
	dst = appendInt(dst, "online", int64(e.Online))
	dst = appendInt(dst, "last_message_ms", e.LastMS)
	return append(dst, '}')
}

// Resync names a group whose pushes a connection has lost, and where to start again; AfterSeq 0 leaves that to
// the client's own last seq, unless FromStart says that it is meant.
type Resync struct {
	Group     string
	AfterSeq  int64
	FromStart bool
}

// AppendResync appends the event resync.
func AppendResync(dst []byte, groups []Resync) []byte {
	dst = append(dst, `{"event":"resync","groups":[`...)
	for i, g := range groups {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"group":"`...)
		dst = append(dst, g.Group...)
		dst = append(dst, '"')
		if g.AfterSeq > 0 || g.FromStart {
			dst = appendInt(dst, "after_seq", g.AfterSeq)
		}
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}
