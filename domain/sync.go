package domain

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// SyncQuery asks for many groups at once: what came after the seqs given, or without them, the heads of all the
// user's groups.
type SyncQuery struct {
	Groups   map[string]int64 // group → after_seq
	Limit    int              // messages a group; 0: DefaultPage
	MaxBytes int              // 0: DefaultSyncBytes; above MaxSyncBytes: MaxSyncBytes
	// RecalledAfterMS asks which messages up to the seqs given were recalled since then.
	RecalledAfterMS *int64
}

// SyncResult is one group's answer: its head and page, or an error.
type SyncResult struct {
	Group string
	Head  *Head
	Page  Page
	Err   error
}

const syncChunk = 20 // groups read at a time, so that the byte budget bounds what is read in vain

// Sync answers each group asked for, none left out, by id. Groups that the byte budget did not reach have no
// messages and More set; at least one message is in the answer if there is any.
func (h *History) Sync(ctx context.Context, actor Actor, q SyncQuery) ([]SyncResult, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	results := make([]SyncResult, 0, len(q.Groups))
	for group := range q.Groups {
		results = append(results, SyncResult{Group: group, Err: CheckGroup("groups", group)})
	}
	sort.Slice(results, func(i, j int) bool { return results[i].Group < results[j].Group })
	if err := h.syncHeads(ctx, actor, results); err != nil {
		return nil, err
	}
	budget := byteBudget{left: q.MaxBytes}
	if q.MaxBytes == 0 {
		budget.left = DefaultSyncBytes
	}
	budget.left = min(budget.left, MaxSyncBytes)
	for start := 0; start < len(results); start += syncChunk {
		chunk := results[start:min(start+syncChunk, len(results))]
		if err := h.syncPages(ctx, q, chunk, &budget); err != nil {
			return nil, err
		}
	}
	return results, h.syncRecalls(ctx, q, results)
}

// syncRecalls adds what was recalled of what the client has.
func (h *History) syncRecalls(ctx context.Context, q SyncQuery, results []SyncResult) error {
	if q.RecalledAfterMS == nil {
		return nil
	}
	upTo := make(map[string]int64)
	for _, r := range results {
		if r.Err == nil {
			upTo[r.Group] = q.Groups[r.Group]
		}
	}
	recalled, rest, err := h.recalledSince(ctx, *q.RecalledAfterMS, upTo, MaxRecalled)
	if err != nil {
		return err
	}
	for i := range results {
		r := &results[i]
		if slices.Contains(rest, r.Group) {
			r.Page, r.Err = Page{}, tooManyRecalls()
			continue
		}
		r.Page.Recalled = seqsOfRecalls(recalled[r.Group])
	}
	return nil
}

func (q SyncQuery) check() error {
	if len(q.Groups) > MaxSyncGroups {
		return TooLarge("groups", "at most %d a call", MaxSyncGroups)
	}
	if q.Limit < 0 {
		return BadField("limit", "must be at least 1")
	}
	if q.MaxBytes < 0 {
		return BadField("max_bytes", "must be at least 1")
	}
	if err := CheckRecalledAfter(q.RecalledAfterMS, true); err != nil {
		return err
	}
	for _, after := range q.Groups {
		if after < 0 || after >= 1<<53 {
			return BadField("groups", "seqs must be from 0 to 2^53-1")
		}
	}
	return nil
}

func (h *History) syncHeads(ctx context.Context, actor Actor, results []SyncResult) error {
	var ask []string
	for _, r := range results {
		if r.Err == nil {
			ask = append(ask, r.Group)
		}
	}
	heads, err := h.heads.Get(ctx, actor.User, ask)
	if err != nil {
		return err
	}
	i := 0
	for j := range results {
		r := &results[j]
		if r.Err != nil {
			continue
		}
		head := heads[i]
		i++
		if r.Err = head.Err; r.Err == nil {
			r.Err = Allow(actor, Read, head.Type, head.Join, head.Role)
		}
		if r.Err == nil {
			r.Head = &head.Head
		}
	}
	return nil
}

// byteBudget counts down the bytes of messages in a reply; the first message is always let through.
type byteBudget struct {
	left int
	used bool
}

func (b *byteBudget) spent() bool { return b.used && b.left <= 0 }

// fit tells how many of the messages the budget has room for.
func (b *byteBudget) fit(messages []Record) int {
	for i, m := range messages {
		if b.used && m.Size() > b.left {
			b.left = 0
			return i
		}
		b.left -= m.Size()
		b.used = true
	}
	return len(messages)
}

func (h *History) syncPages(ctx context.Context, q SyncQuery, chunk []SyncResult, budget *byteBudget) error {
	var ranges []Range
	var asked []*SyncResult
	for i := range chunk {
		r := &chunk[i]
		if r.Err != nil || q.Groups[r.Group] >= r.Head.MaxSeq {
			continue
		}
		r.Page.More = true
		if !budget.spent() {
			asked = append(asked, r)
			ranges = append(ranges, Range{
				Group: r.Group, From: q.Groups[r.Group] + 1, To: r.Head.MaxSeq, Limit: pageLimit(q.Limit),
				Committed: r.Head.PersistedSeq,
			})
		}
	}
	if len(ranges) == 0 {
		return nil
	}
	recent, err := h.recent.Recent(ctx, ranges)
	if err != nil {
		return Unavailable(fmt.Errorf("recent of %d groups: %w", len(ranges), err), "Redis")
	}
	for i, r := range asked {
		if budget.spent() {
			break
		}
		page, err := h.completeAfter(ctx, r.Head, ranges[i], recent[i])
		if err != nil {
			r.Page, r.Err = Page{}, err
			continue
		}
		page.Cut(budget.fit(page.Messages))
		r.Page = page
	}
	return nil
}

// Conversation is one of a user's groups in the list of all.
type Conversation struct {
	Head
	Last *Record // nil before the first message, and when retention took all
	// MentionedSeq is the highest unread message that mentions the user; 0 for none.
	MentionedSeq int64
}

// Conversations lists the user's groups, most recently active first, and the cursor of the next page ("" at the end).
func (h *History) Conversations(ctx context.Context, actor Actor, cursor string) ([]Conversation, string, error) {
	if actor.User == "" {
		return nil, "", BadField("user", "is required: whose groups")
	}
	after, err := parseActivityCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	heads, err := h.Mine(ctx, actor.User, "")
	if err != nil {
		return nil, "", err
	}
	skip := sort.Search(len(heads), func(i int) bool { return after.before(&heads[i]) })
	heads = heads[skip:]
	next := ""
	if len(heads) > headsPage {
		heads = heads[:headsPage]
		next = activityOf(&heads[headsPage-1]).String()
	}
	list, err := h.withLast(ctx, heads)
	if err == nil {
		err = h.addMentions(ctx, actor.User, list)
	}
	return list, next, err
}

func (h *History) withLast(ctx context.Context, heads []Head) ([]Conversation, error) {
	ranges := make([]Range, len(heads))
	for i, head := range heads {
		ranges[i] = Range{Group: head.Group, From: 1, To: head.MaxSeq, Limit: 1, Last: true, Committed: head.PersistedSeq}
	}
	recent, err := h.recent.Recent(ctx, ranges)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("last messages of %d groups: %w", len(heads), err), "Redis")
	}
	list := make([]Conversation, len(heads))
	var stored []Range // of groups without recent messages
	var of []*Conversation
	for i, head := range heads {
		list[i].Head = head
		switch {
		case len(recent[i]) > 0:
			list[i].Last = &recent[i][0]
		case head.MaxSeq > 0:
			stored, of = append(stored, ranges[i]), append(of, &list[i])
		}
	}
	rows, err := h.rowsOfEach(ctx, stored)
	if err != nil {
		return nil, err
	}
	for i, last := range rows {
		if len(last) > 0 {
			of[i].Last = &last[0]
		}
	}
	return list, nil
}

// activity orders conversations: latest first, then by id. The zero value comes before all.
type activity struct {
	lastMS int64
	group  string
}

func activityOf(h *Head) activity { return activity{h.LastMS, h.Group} }

func (a activity) before(h *Head) bool {
	if a == (activity{}) {
		return true
	}
	if a.lastMS != h.LastMS {
		return a.lastMS > h.LastMS
	}
	return a.group < h.Group
}

func (a activity) String() string { return strconv.FormatInt(a.lastMS, 10) + "." + a.group }

func parseActivityCursor(s string) (activity, error) {
	if s == "" {
		return activity{}, nil
	}
	ms, group, ok := strings.Cut(s, ".")
	lastMS, err := strconv.ParseInt(ms, 10, 64)
	if !ok || err != nil || CheckGroup("cursor", group) != nil {
		return activity{}, BadField("cursor", "is not one that this server gave")
	}
	return activity{lastMS, group}, nil
}
