package domain

import (
	"context"
	"fmt"
	"hash/fnv"
	"sort"
	"strconv"
	"strings"
	"time"
)

const (
	DefaultHotLimit = 50
	MaxHotLimit     = 200
	MaxWatchedHot   = 50 // ranks that are shown to who watches the ranking
	// hotPaging is how long a cursor pages through its snapshot.
	hotPaging = 60 * time.Second
)

// AllTypes as a ranking's type takes rooms and groups together.
const AllTypes = "all"

// HotEntry is one line of the ranking.
type HotEntry struct {
	Rank   int       `json:"rank"`
	Group  string    `json:"group"`
	Name   string    `json:"name"`
	Type   GroupType `json:"type"`
	Heat   int       `json:"heat"`
	Online int       `json:"online"`
	LastMS int64     `json:"last_message_ms"`
}

// Speaker is a user who spoke in a group, and when he did last.
type Speaker struct {
	Group, User string
	TimeMS      int64
}

// HotSnapshot is a ranking at one moment, or a part of it.
type HotSnapshot struct {
	ID      string // also tells when it was taken; opaque to clients
	TimeMS  int64
	Entries []HotEntry
}

// Viewers counts who follows groups now.
type Viewers interface {
	// Online is the number of distinct users an instance has connected to a group, added up over the instances.
	// Groups without any may be left out.
	Online(ctx context.Context, groups []string) (map[string]int, error)
}

// HeatCache is the Redis side of the ranking.
type HeatCache interface {
	Viewers
	// Heat expires what is older than the window, then gives every group's number of distinct speakers.
	Heat(ctx context.Context) (scores map[string]int, nowMS int64, err error)
	// CurrentSnapshot is the id of the type's snapshot that is still fresh; "" if there is none.
	CurrentSnapshot(ctx context.Context, typ string) (string, error)
	// SaveSnapshot keeps a snapshot for paging and makes it the type's current one for ttl.
	SaveSnapshot(ctx context.Context, typ string, s HotSnapshot, ttl, paging time.Duration) error
	// SnapshotPage reads lines from a snapshot, ok false when it is gone.
	SnapshotPage(ctx context.Context, typ, id string, from, limit int) (s HotSnapshot, total int, ok bool, err error)
	// Speakers are those who count in groups now, each group's latest first; of very many some are left out.
	Speakers(ctx context.Context, groups []string) ([]Speaker, error)
}

// HotQuery asks for a page of the ranking.
type HotQuery struct {
	Type   string // "" is room
	Limit  int    // 0: DefaultHotLimit; above MaxHotLimit: MaxHotLimit
	Cursor string
	// Explain asks for the speakers, too; for app servers.
	Explain bool
}

// HotPage is a part of a snapshot; Cursor pages on through the same one and is empty at its end.
type HotPage struct {
	HotSnapshot
	Cursor string
	Total  int // lines of the whole snapshot
	// Speakers by group, each group's latest first, for a query that asked for them. They are those who count now, which
	// is later than the snapshot.
	Speakers map[string][]Speaker
}

// First is the first page again with at most n ranks.
func (p *HotPage) First(n int) *HotPage {
	first := &HotPage{HotSnapshot: p.HotSnapshot, Total: p.Total}
	kept := sort.Search(len(p.Entries), func(i int) bool { return p.Entries[i].Rank > n })
	first.Entries = p.Entries[:kept]
	if n < p.Total {
		first.Cursor = hotCursor(p.ID, n)
	}
	return first
}

// Ranking lists groups by heat.
type Ranking struct {
	cache HeatCache
	heads *Heads
	ttl   time.Duration // how long a snapshot serves everybody
	turn  chan struct{} // to take one: holds a token while nobody does
}

// NewRanking wires the ranking; snapshotTTL is heat.snapshot_ttl.
func NewRanking(cache HeatCache, heads *Heads, snapshotTTL time.Duration) *Ranking {
	r := &Ranking{cache: cache, heads: heads, ttl: snapshotTTL, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

// Page answers one page of the ranking.
func (r *Ranking) Page(ctx context.Context, actor Actor, q HotQuery) (*HotPage, error) {
	if err := q.check(actor); err != nil {
		return nil, err
	}
	id, from, err := parseHotCursor(q.Cursor)
	if err != nil {
		return nil, err
	}
	if id == "" {
		if id, err = r.current(ctx, q.Type); err != nil {
			return nil, err
		}
	}
	s, total, ok, err := r.cache.SnapshotPage(ctx, q.Type, id, from, q.Limit)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("page of hot snapshot: %w", err), "Redis")
	}
	if !ok {
		return nil, Errorf(CodeGone, "cursor: its snapshot is no longer kept, start again without a cursor")
	}
	page := &HotPage{HotSnapshot: s, Total: total}
	if next := from + len(s.Entries); next < total {
		page.Cursor = hotCursor(id, next)
	}
	if page.Entries, err = r.withoutDismissed(ctx, s.Entries); err != nil {
		return nil, err
	}
	if q.Explain {
		page.Speakers, err = r.explain(ctx, page.Entries)
	}
	return page, err
}

func (q *HotQuery) check(actor Actor) error {
	switch q.Type {
	case "":
		q.Type = string(Room)
	case string(Room):
	case string(Private), AllTypes:
		if !actor.IsServer() {
			return &Error{Code: CodeForbidden, Field: "type", Message: "type: users see the ranking of rooms only"}
		}
	default:
		return BadField("type", "must be room, group or all")
	}
	if q.Explain && !actor.IsServer() {
		return &Error{Code: CodeForbidden, Field: "explain", Message: "explain: only app servers are told who speaks"}
	}
	if q.Limit < 0 {
		return BadField("limit", "must be at least 1")
	}
	if q.Limit == 0 {
		q.Limit = DefaultHotLimit
	}
	q.Limit = min(q.Limit, MaxHotLimit)
	return nil
}

func hotCursor(id string, from int) string { return id + "." + strconv.Itoa(from) }

func parseHotCursor(cursor string) (id string, from int, err error) {
	if cursor == "" {
		return "", 0, nil
	}
	id, offset, ok := strings.Cut(cursor, ".")
	from, err = strconv.Atoi(offset)
	if !ok || err != nil || from < 0 || !ValidID(id) {
		return "", 0, BadField("cursor", "is not one that this server gave")
	}
	return id, from, nil
}

// current is the id of a fresh snapshot, taken now if there is none: by one of those who ask this instance, while the
// others wait for it.
func (r *Ranking) current(ctx context.Context, typ string) (string, error) {
	id, err := r.fresh(ctx, typ)
	if id != "" || err != nil {
		return id, err
	}
	select {
	case <-r.turn:
	case <-ctx.Done():
		return "", Unavailable(fmt.Errorf("wait for a hot snapshot: %w", ctx.Err()), "Redis")
	}
	defer func() { r.turn <- struct{}{} }()
	if id, err = r.fresh(ctx, typ); id != "" || err != nil {
		return id, err
	}
	s, err := r.take(ctx, typ)
	if err != nil {
		return "", err
	}
	if err := r.cache.SaveSnapshot(ctx, typ, s, r.ttl, hotPaging); err != nil {
		return "", Unavailable(fmt.Errorf("save hot snapshot: %w", err), "Redis")
	}
	return s.ID, nil
}

func (r *Ranking) fresh(ctx context.Context, typ string) (string, error) {
	id, err := r.cache.CurrentSnapshot(ctx, typ)
	if err != nil {
		return "", Unavailable(fmt.Errorf("current hot snapshot: %w", err), "Redis")
	}
	return id, nil
}

func (r *Ranking) take(ctx context.Context, typ string) (HotSnapshot, error) {
	scores, nowMS, err := r.cache.Heat(ctx)
	if err != nil {
		return HotSnapshot{}, Unavailable(fmt.Errorf("heat: %w", err), "Redis")
	}
	groups := make([]string, 0, len(scores))
	for group := range scores {
		groups = append(groups, group)
	}
	entries := make([]HotEntry, 0, len(groups))
	for start := 0; start < len(groups); start += MaxSyncGroups {
		heads, err := r.heads.Get(ctx, "", groups[start:min(start+MaxSyncGroups, len(groups))])
		if err != nil {
			return HotSnapshot{}, err
		}
		for _, h := range heads {
			if h.Err == nil && scores[h.Group] > 0 && h.Type != Direct && (typ == AllTypes || typ == string(h.Type)) {
				entries = append(entries, HotEntry{Group: h.Group, Name: h.Name, Type: h.Type, Heat: scores[h.Group], LastMS: h.LastMS})
			}
		}
	}
	RankHot(entries)
	if err := r.countViewers(ctx, entries); err != nil {
		return HotSnapshot{}, err
	}
	return HotSnapshot{ID: hotID(nowMS, entries), TimeMS: nowMS, Entries: entries}, nil
}

// hotID differs where the ranking does: two instances may take theirs in the same millisecond, and who pages through the
// one must not get into the other.
func hotID(nowMS int64, entries []HotEntry) string {
	sum := fnv.New32a()
	var line []byte
	for i := range entries {
		e := &entries[i]
		line = append(append(line[:0], e.Group...), ' ')
		line = strconv.AppendInt(line, int64(e.Heat), 36)
		line = strconv.AppendInt(append(line, ' '), e.LastMS, 36)
		_, _ = sum.Write(append(line, '\n')) // a hash takes everything
	}
	return strconv.FormatInt(nowMS, 36) + "-" + strconv.FormatUint(uint64(sum.Sum32()), 36)
}

func (r *Ranking) explain(ctx context.Context, entries []HotEntry) (map[string][]Speaker, error) {
	groups := make([]string, len(entries))
	for i := range entries {
		groups[i] = entries[i].Group
	}
	speakers, err := r.cache.Speakers(ctx, groups)
	if err != nil {
		return nil, Unavailable(fmt.Errorf("speakers of %d groups: %w", len(groups), err), "Redis")
	}
	of := make(map[string][]Speaker, len(groups))
	for _, s := range speakers {
		of[s.Group] = append(of[s.Group], s)
	}
	return of, nil
}

func (r *Ranking) countViewers(ctx context.Context, entries []HotEntry) error {
	groups := make([]string, len(entries))
	for i := range entries {
		groups[i] = entries[i].Group
	}
	online, err := r.cache.Online(ctx, groups)
	if err != nil {
		return Unavailable(fmt.Errorf("viewers of %d groups: %w", len(groups), err), "Redis")
	}
	for i := range entries {
		entries[i].Online = online[entries[i].Group]
	}
	return nil
}

// RankHot sorts by heat, then by the time of the last message, latest first, then by id, and numbers the lines
// from 1.
func RankHot(entries []HotEntry) {
	sort.Slice(entries, func(i, j int) bool {
		a, b := &entries[i], &entries[j]
		if a.Heat != b.Heat {
			return a.Heat > b.Heat
		}
		if a.LastMS != b.LastMS {
			return a.LastMS > b.LastMS
		}
		return a.Group < b.Group
	})
	for i := range entries {
		entries[i].Rank = i + 1
	}
}

func (r *Ranking) withoutDismissed(ctx context.Context, entries []HotEntry) ([]HotEntry, error) {
	groups := make([]string, len(entries))
	for i, e := range entries {
		groups[i] = e.Group
	}
	heads, err := r.heads.Get(ctx, "", groups)
	if err != nil {
		return nil, err
	}
	kept := make([]HotEntry, 0, len(entries))
	for i, e := range entries {
		if heads[i].Err == nil {
			kept = append(kept, e)
		}
	}
	return kept, nil
}
