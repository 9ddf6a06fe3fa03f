package domain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
)

// Bounds of pulls and syncs, as the protocol gives them.
const (
	DefaultPage      = 50
	MaxPage          = 200
	MaxSyncGroups    = 200
	DefaultSyncBytes = 256 << 10
	MaxSyncBytes     = 1 << 20
	headsPage        = 200
)

// Range asks for messages of one group with From ≤ seq ≤ To: the first Limit of them, or the last when Last is set.
type Range struct {
	Group    string
	From, To int64
	Limit    int
	Last     bool
	// Committed is the watermark: MySQL has everything up to here. What lies above is noted when it is shown.
	Committed int64
}

// RecentMessages is the Redis side of history: the newest messages of each group, and all that MySQL lacks.
type RecentMessages interface {
	// Recent answers each range in order with what it has, ascending.
	Recent(ctx context.Context, ranges []Range) ([][]Record, error)
	// Recalled are the recalls in each group, in order, that rows in MySQL may not show yet, and perhaps others.
	Recalled(ctx context.Context, groups []string) ([][]Recall, error)
	// Mentions are what MySQL may not know of who is mentioned, in each group in order. To be asked before MySQL.
	Mentions(ctx context.Context, user string, groups []string) ([]FreshMentions, error)
}

// MessageStore is the MySQL side of history.
type MessageStore interface {
	// Messages answers a range with the rows there are, ascending.
	Messages(ctx context.Context, r Range) ([]Record, error)
	// Holes are all holes of a group.
	Holes(ctx context.Context, group string) (Holes, error)
	// LastSeqBefore is the highest seq of a row older than the time; 0 when there is none.
	LastSeqBefore(ctx context.Context, group string, timeMS int64) (int64, error)
	// Readers counts who has read a message, and names them by id if they are no more than q.Names.
	Readers(ctx context.Context, q ReaderQuery) (count int, users []string, err error)
	// RecalledSince are the recalls after the time in each group, up to the seq given, of the first groups by id that have
	// no more than limit together; rest are the other groups. limit 0: all have room.
	RecalledSince(ctx context.Context, afterMS int64, upTo map[string]int64, limit int) (found map[string][]Recall, rest []string, err error)
	// Mentioned is the highest seq in each range, of one group each, whose message mentions the user or everybody and is
	// not recalled as far as MySQL knows.
	Mentioned(ctx context.Context, user string, ranges []Range) (map[string]int64, error)
	// GroupsOf lists up to limit of a user's groups above the id after, by id. limit 0: all.
	GroupsOf(ctx context.Context, user, after string, limit int) ([]string, error)
}

// ReadMarker moves read marks in Redis; MySQL gets them behind.
type ReadMarker interface {
	// MarkRead raises a user's mark to seq if it is lower and returns the mark that holds now. known is the
	// mark the caller has seen, for a cache that lost it. In small groups the event is told to the subscribers, but
	// for the user himself, when the mark has moved.
	MarkRead(ctx context.Context, group, user string, seq, known int64, event []byte) (int64, error)
	// ReadMarksAbove are the marks, of whomever, that are at least seq and that MySQL may not have. To be asked before
	// MySQL; unavailable when these are too many.
	ReadMarksAbove(ctx context.Context, group string, seq int64) (map[string]int64, error)
}

// History answers pulls, syncs and read marks.
type History struct {
	heads  *Heads
	recent RecentMessages
	store  MessageStore
	marks  ReadMarker
	own    OwnGroups
	bus    Bus
}

// NewHistory wires the sides of history together.
func NewHistory(heads *Heads, recent RecentMessages, store MessageStore, marks ReadMarker, own OwnGroups, bus Bus) *History {
	return &History{heads: heads, recent: recent, store: store, marks: marks, own: own, bus: bus}
}

// PullQuery is what a pull asks for; of After, Before and BeforeMS at most one is set, none means the newest page.
type PullQuery struct {
	Group    string
	After    *int64
	Before   *int64
	BeforeMS *int64
	Limit    int // 0: DefaultPage; above MaxPage: MaxPage
	// RecalledAfterMS asks, with After, which messages up to there were recalled since then.
	RecalledAfterMS *int64
}

func (q PullQuery) check() error {
	set := 0
	names := [...]string{"after_seq", "before_seq", "before_ms"}
	for i, bound := range [...]*int64{q.After, q.Before, q.BeforeMS} {
		if bound == nil {
			continue
		}
		set++
		if *bound < 0 || *bound >= 1<<53 {
			return BadField(names[i], "must be from 0 to 2^53-1")
		}
	}
	if set > 1 {
		return BadField("after_seq", "give only one of after_seq, before_seq and before_ms")
	}
	if q.Limit < 0 {
		return BadField("limit", "must be at least 1")
	}
	if err := CheckRecalledAfter(q.RecalledAfterMS, q.After != nil); err != nil {
		return err
	}
	return CheckGroup("group", q.Group)
}

// pageLimit gives a page's size: 0 means the default, more than MaxPage is clamped.
func pageLimit(limit int) int {
	if limit == 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}

// Pull answers one page of a group: ascending, with the holes among the messages.
func (h *History) Pull(ctx context.Context, actor Actor, q PullQuery) (*Head, Page, error) {
	if err := q.check(); err != nil {
		return nil, Page{}, err
	}
	head, err := h.Enter(ctx, actor, q.Group)
	if err != nil {
		return nil, Page{}, err
	}
	limit := pageLimit(q.Limit)
	var page Page
	switch {
	case q.After != nil:
		page, err = h.After(ctx, head, *q.After, head.MaxSeq, limit)
	case q.Before != nil:
		page, err = h.before(ctx, head, min(*q.Before, head.MaxSeq+1), limit)
	case q.BeforeMS != nil:
		page, err = h.beforeTime(ctx, head, *q.BeforeMS, limit)
	default:
		page, err = h.before(ctx, head, head.MaxSeq+1, limit)
	}
	if err == nil && q.RecalledAfterMS != nil {
		page.Recalled, err = h.RecalledSeqs(ctx, q.Group, *q.RecalledAfterMS, *q.After)
	}
	return head, page, err
}

// Enter is the head of a group that the actor may read.
func (h *History) Enter(ctx context.Context, actor Actor, group string) (*Head, error) {
	if err := CheckGroup("group", group); err != nil {
		return nil, err
	}
	head, err := h.heads.One(ctx, actor.User, group)
	if err != nil {
		return nil, err
	}
	return head, Allow(actor, Read, head.Type, head.Join, head.Role)
}

// HeadsOf are the heads of groups, in order, as nobody in particular sees them.
func (h *History) HeadsOf(ctx context.Context, groups []string) ([]HeadResult, error) {
	return h.heads.Get(ctx, "", groups)
}

// Head is a group's head as nobody in particular sees it.
func (h *History) Head(ctx context.Context, group string) (*Head, error) {
	return h.heads.One(ctx, "", group)
}

// One is the message with this seq; not_found when there is none, unavailable while that is not known.
func (h *History) One(ctx context.Context, actor Actor, group string, seq int64) (*Record, error) {
	if seq < 1 || seq >= 1<<53 {
		return nil, BadField("seq", "must be from 1 to 2^53-1")
	}
	head, err := h.Enter(ctx, actor, group)
	if err != nil {
		return nil, err
	}
	page, err := h.After(ctx, head, seq-1, min(seq, head.MaxSeq), 1)
	if err != nil {
		return nil, err
	}
	if page.Unexplained {
		return nil, Unavailable(errors.New("neither a row nor a hole"), "the message")
	}
	if len(page.Messages) == 0 {
		return nil, Errorf(CodeNotFound, "there is no message with this seq")
	}
	return &page.Messages[0], nil
}

// After is the page of messages in (after, top], from Redis where it has them all.
func (h *History) After(ctx context.Context, head *Head, after, top int64, limit int) (Page, error) {
	if after >= top {
		return Page{}, nil
	}
	r := Range{Group: head.Group, From: after + 1, To: top, Limit: limit, Committed: head.PersistedSeq}
	recent, err := h.recent.Recent(ctx, []Range{r})
	if err != nil {
		return Page{}, Unavailable(fmt.Errorf("recent of %s: %w", head.Group, err), "Redis")
	}
	return h.completeAfter(ctx, head, r, recent[0])
}

func (h *History) completeAfter(ctx context.Context, head *Head, r Range, recent []Record) (Page, error) {
	page := PageAfter(recent, head.Holes, r.From-1, r.To, r.Limit)
	if !page.Unexplained {
		return page, nil
	}
	records, holes, err := h.complete(ctx, r, recent)
	if err != nil {
		return Page{}, err
	}
	return PageAfter(records, holes, r.From-1, r.To, r.Limit), nil
}

func (h *History) before(ctx context.Context, head *Head, before int64, limit int) (Page, error) {
	if before <= 1 {
		return Page{}, nil
	}
	r := Range{Group: head.Group, From: 1, To: before - 1, Limit: limit, Last: true, Committed: head.PersistedSeq}
	recent, err := h.recent.Recent(ctx, []Range{r})
	if err != nil {
		return Page{}, Unavailable(fmt.Errorf("recent of %s: %w", head.Group, err), "Redis")
	}
	page := PageBefore(recent[0], head.Holes, before, limit)
	if !page.Unexplained {
		return page, nil
	}
	records, holes, err := h.complete(ctx, r, recent[0])
	if err != nil {
		return Page{}, err
	}
	return PageBefore(records, holes, before, limit), nil
}

// beforeTime finds the last message older than the time, then pages backwards from it. Times never fall within
// a group, so the seq tells.
func (h *History) beforeTime(ctx context.Context, head *Head, timeMS int64, limit int) (Page, error) {
	// What MySQL lacks is in Redis, and in an outage that is more than one read brings.
	for to := head.MaxSeq; ; {
		recent, err := h.recent.Recent(ctx, []Range{{
			Group: head.Group, From: 1, To: to, Limit: 1000, Last: true, Committed: head.PersistedSeq,
		}})
		if err != nil {
			return Page{}, Unavailable(fmt.Errorf("recent of %s: %w", head.Group, err), "Redis")
		}
		older := sort.Search(len(recent[0]), func(i int) bool { return recent[0][i].TimeMS >= timeMS })
		if older > 0 {
			return h.before(ctx, head, recent[0][older-1].Seq+1, limit)
		}
		if len(recent[0]) == 0 || recent[0][0].Seq <= head.PersistedSeq+1 {
			break
		}
		to = recent[0][0].Seq - 1
	}
	last, err := h.store.LastSeqBefore(ctx, head.Group, timeMS)
	if err != nil {
		return Page{}, Unavailable(fmt.Errorf("seq of %s before a time: %w", head.Group, err), "MySQL")
	}
	last = max(last, head.MinSeq()-1) // what has expired is older than all there is
	return h.before(ctx, head, min(last, head.MaxSeq)+1, limit)
}

// complete adds to what Redis had the rows and holes that MySQL has. Of a message that both have, Redis' form
// counts: a recall reaches the row later.
func (h *History) complete(ctx context.Context, r Range, recent []Record) ([]Record, Holes, error) {
	rows, err := h.rows(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	holes, err := h.store.Holes(ctx, r.Group)
	if err != nil {
		return nil, nil, Unavailable(fmt.Errorf("holes of %s: %w", r.Group, err), "MySQL")
	}
	all := slices.Concat(recent, rows)
	sort.SliceStable(all, func(i, j int) bool { return all[i].Seq < all[j].Seq })
	all = slices.CompactFunc(all, func(a, b Record) bool { return a.Seq == b.Seq })
	return all, holes, nil
}

// MarkRead moves the user's read mark forward to seq (at most max_seq), tells his other connections than conn and the
// members of a small group, and returns the head with the mark that holds now.
func (h *History) MarkRead(ctx context.Context, actor Actor, group string, seq int64, conn string) (*Head, error) {
	if seq < 1 || seq >= 1<<53 {
		return nil, BadField("seq", "must be from 1 to 2^53-1")
	}
	if actor.User == "" {
		return nil, BadField("user", "is required: whose mark")
	}
	head, err := h.Enter(ctx, actor, group)
	if err != nil {
		return nil, err
	}
	seq = min(seq, head.MaxSeq)
	if seq <= head.ReadSeq {
		return head, nil
	}
	event := ReadEvent{Group: group, User: actor.User, Seq: seq}.JSON()
	head.ReadSeq, err = h.marks.MarkRead(ctx, group, actor.User, seq, head.ReadSeq, event)
	if err == nil && head.ReadSeq == seq {
		err = h.bus.ToUser(ctx, actor.User, conn, event)
	}
	if err != nil {
		return nil, Failed(fmt.Errorf("read mark in %s: %w", group, err), "Redis")
	}
	return head, nil
}
