package wire

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"hearth/domain"
)

// The Append functions write one object each, without a newline, and return the extended slice. Ids and group
// ids need no escaping; free text goes through appendString.

// appendReply starts {"id":…,"ok": or {"id":…,"error":.
func appendReply(dst []byte, id ID, kind string) []byte {
	dst = append(dst, '{')
	if id != NoID {
		dst = append(dst, `"id":`...)
		dst = strconv.AppendInt(dst, int64(id), 10)
		dst = append(dst, ',')
	}
	dst = append(dst, '"')
	dst = append(dst, kind...)
	return append(dst, `":`...)
}

// AppendOK appends {"id":…,"ok":{}}.
func AppendOK(dst []byte, id ID) []byte {
	return append(appendReply(dst, id, "ok"), `{}}`...)
}

// AppendError appends {"id":…,"error":{"code","message","retryable","retry_after_ms"?}}.
func AppendError(dst []byte, id ID, err error) []byte {
	dst = appendReply(dst, id, "error")
	dst = AppendErrorObject(dst, err)
	return append(dst, '}')
}

// AppendErrorObject appends the object behind "error".
func AppendErrorObject(dst []byte, err error) []byte {
	e := domain.AsError(err)
	dst = append(dst, `{"code":"`...)
	dst = append(dst, e.Code...)
	dst = append(dst, `","message":`...)
	dst = appendString(dst, e.Message)
	dst = append(dst, `,"retryable":`...)
	dst = strconv.AppendBool(dst, e.Code.Retryable())
	if e.RetryAfter > 0 {
		dst = appendInt(dst, "retry_after_ms", max(1, e.RetryAfter.Milliseconds()))
	}
	return append(dst, '}')
}

// AppendSent appends the reply to a send.
func AppendSent(dst []byte, id ID, r domain.Receipt) []byte {
	dst = appendReply(dst, id, "ok")
	dst = append(dst, `{"group":"`...)
	dst = append(dst, r.Group...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendInt(dst, r.Seq, 10)
	dst = appendInt(dst, "time_ms", r.TimeMS)
	dst = append(dst, `,"duplicate":`...)
	dst = strconv.AppendBool(dst, r.Duplicate)
	dst = append(dst, `,"durable":`...)
	dst = strconv.AppendBool(dst, r.Durable)
	dst = appendInt(dst, "persisted_seq", r.PersistedSeq)
	if r.PeerOnline != nil {
		dst = append(dst, `,"peer_online":`...)
		dst = strconv.AppendBool(dst, *r.PeerOnline)
	}
	return append(dst, `}}`...)
}

// AppendPresence appends the reply to a presence.
func AppendPresence(dst []byte, id ID, users map[string]domain.Presence) []byte {
	dst = appendReply(dst, id, "ok")
	dst = AppendUsers(dst, users)
	return append(dst, '}')
}

// AppendUsers appends {"users":{id:{"online","devices","last_seen_ms"?}}}, by id.
func AppendUsers(dst []byte, users map[string]domain.Presence) []byte {
	dst = append(dst, `{"users":{`...)
	for i, user := range slices.Sorted(maps.Keys(users)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		p := users[user]
		dst = append(dst, '"')
		dst = append(dst, user...)
		dst = append(dst, `":{"online":`...)
		dst = strconv.AppendBool(dst, p.Online)
		dst = append(dst, `,"devices":[`...)
		for i, device := range p.Devices {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, device)
		}
		dst = append(dst, ']')
		if p.LastSeenMS > 0 {
			dst = appendInt(dst, "last_seen_ms", p.LastSeenMS)
		}
		dst = append(dst, '}')
	}
	return append(dst, `}}`...)
}

// AppendRefreshed appends the reply to a refresh.
func AppendRefreshed(dst []byte, id ID, expiresMS int64) []byte {
	dst = appendReply(dst, id, "ok")
	dst = append(dst, `{"expires_ms":`...)
	dst = strconv.AppendInt(dst, expiresMS, 10)
	return append(dst, `}}`...)
}

// AppendSubscribed appends the reply to a subscribe. maxSeq is the point from which pushes go on.
func AppendSubscribed(dst []byte, id ID, h *domain.Head, p domain.Page) []byte {
	dst = appendReply(dst, id, "ok")
	dst = append(dst, `{"group":"`...)
	dst = append(dst, h.Group...)
	dst = append(dst, `","role":`...)
	if h.Role == domain.Outsider {
		dst = append(dst, `null`...)
	} else {
		dst = append(append(append(dst, '"'), h.Role...), '"')
	}
	dst = appendInt(dst, "max_seq", h.MaxSeq)
	dst = appendMarks(dst, h)
	dst = appendPage(dst, p)
	return append(dst, `}}`...)
}

// AppendPulled appends the reply to a pull.
func AppendPulled(dst []byte, id ID, h *domain.Head, p domain.Page) []byte {
	dst = appendReply(dst, id, "ok")
	dst = AppendPull(dst, h, p)
	return append(dst, '}')
}

// AppendPull appends {"group","max_seq","min_seq","messages","holes","recalled"?,"more"}.
func AppendPull(dst []byte, h *domain.Head, p domain.Page) []byte {
	dst = append(dst, `{"group":"`...)
	dst = append(dst, h.Group...)
	dst = append(dst, '"')
	dst = appendInt(dst, "max_seq", h.MaxSeq)
	dst = appendInt(dst, "min_seq", h.MinSeq())
	dst = appendPage(dst, p)
	return append(dst, '}')
}

// AppendRead appends the reply to a read.
func AppendRead(dst []byte, id ID, h *domain.Head) []byte {
	dst = appendReply(dst, id, "ok")
	dst = append(dst, `{"group":"`...)
	dst = append(dst, h.Group...)
	dst = append(dst, '"')
	dst = appendInt(dst, "read_seq", h.ReadSeq)
	dst = appendInt(dst, "unread", h.Unread())
	return append(dst, `}}`...)
}

// AppendSynced appends the reply to a sync with groups.
func AppendSynced(dst []byte, id ID, results []domain.SyncResult) []byte {
	dst = appendReply(dst, id, "ok")
	dst = AppendSync(dst, results)
	return append(dst, '}')
}

// AppendSync appends {"results":[…]} with one object for each group.
func AppendSync(dst []byte, results []domain.SyncResult) []byte {
	dst = append(dst, `{"results":[`...)
	for i := range results {
		r := &results[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"group":`...)
		dst = appendString(dst, r.Group)
		if r.Err != nil {
			dst = append(dst, `,"error":`...)
			dst = AppendErrorObject(dst, r.Err)
		} else {
			dst = appendInt(dst, "max_seq", r.Head.MaxSeq)
			dst = appendInt(dst, "min_seq", r.Head.MinSeq())
			dst = appendMarks(dst, r.Head)
			dst = appendPage(dst, r.Page)
		}
		dst = append(dst, '}')
	}
	return append(dst, `]}`...)
}

// AppendConversationList appends the reply to a sync without groups.
func AppendConversationList(dst []byte, id ID, list []domain.Conversation, cursor string) []byte {
	dst = appendReply(dst, id, "ok")
	dst = AppendConversations(dst, list, cursor)
	return append(dst, '}')
}

// AppendConversations appends {"results":[…],"cursor"?} with one head for each conversation.
func AppendConversations(dst []byte, list []domain.Conversation, cursor string) []byte {
	dst = append(dst, `{"results":[`...)
	for i := range list {
		c := &list[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"group":"`...)
		dst = append(dst, c.Group...)
		dst = append(dst, `","type":"`...)
		dst = append(dst, c.Type...)
		dst = append(dst, `","name":`...)
		dst = appendString(dst, c.Name)
		dst = appendInt(dst, "max_seq", c.MaxSeq)
		dst = appendInt(dst, "read_seq", c.ReadSeq)
		dst = appendInt(dst, "unread", c.Unread())
		if c.MentionedSeq > 0 {
			dst = appendInt(dst, "mentioned_seq", c.MentionedSeq)
		}
		if c.Last != nil {
			dst = append(dst, `,"last_message":`...)
			dst = c.Last.AppendJSON(dst)
		}
		dst = append(dst, '}')
	}
	dst = append(dst, ']')
	if cursor != "" {
		dst = append(dst, `,"cursor":`...)
		dst = appendString(dst, cursor)
	}
	return append(dst, '}')
}

// AppendPong appends the reply to a ping.
func AppendPong(dst []byte, id ID, nowMS int64) []byte {
	dst = appendReply(dst, id, "ok")
	dst = append(dst, `{"time_ms":`...)
	dst = strconv.AppendInt(dst, nowMS, 10)
	return append(dst, `}}`...)
}

func appendMarks(dst []byte, h *domain.Head) []byte {
	dst = appendInt(dst, "read_seq", h.ReadSeq)
	dst = appendInt(dst, "unread", h.Unread())
	return appendInt(dst, "persisted_seq", h.PersistedSeq)
}

func appendPage(dst []byte, p domain.Page) []byte {
	size := 64 + 64*len(p.Holes) + 17*len(p.Recalled)
	for i := range p.Messages {
		size += p.Messages[i].Size() + 1
	}
	dst = slices.Grow(dst, size) // once, not by doubling
	dst = append(dst, `,"messages":[`...)
	for i := range p.Messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = p.Messages[i].AppendJSON(dst)
	}
	dst = append(dst, `],"holes":[`...)
	for i, h := range p.Holes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"from":`...)
		dst = strconv.AppendInt(dst, h.From, 10)
		dst = appendInt(dst, "to", h.To)
		dst = append(dst, `,"reason":"`...)
		dst = append(dst, h.Reason...)
		dst = append(dst, `"}`...)
	}
	dst = append(dst, ']')
	if p.Recalled != nil {
		dst = append(dst, `,"recalled":[`...)
		for i, seq := range p.Recalled {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = strconv.AppendInt(dst, seq, 10)
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"more":`...)
	return strconv.AppendBool(dst, p.More)
}

func appendInt(dst []byte, name string, n int64) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return strconv.AppendInt(dst, n, 10)
}

func appendString(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string always marshals
	return append(dst, quoted...)
}
