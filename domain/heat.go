package domain

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	DefaultHotLimit = 50
	MaxHotLimit     = 200
	MaxWatchedHot   = 50 // ranks that are shown to who watches the ranking
	// hotPaging is how long a cursor pages through its snapshot.
	hotPaging = 60 * time.Second
	hotTries  = 3 // to read a snapshot that was there a moment ago
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

// GroupHeat is what Redis counts of a group.
type GroupHeat struct {
	Group    string
	Speakers int   // distinct users with a message in the window
	Messages int   // of theirs, in the window; 0 where messages are not counted
	LastMS   int64 // time of the last message; 0 where Redis does not know it
}

// MessageTime is when a message was sent that counts in the ranking.
type MessageTime struct {
	Group  string
	Seq    int64
	TimeMS int64
}

// HeatWeights are what each number counts for in a group's heat.
type HeatWeights struct {
	Speakers int `json:"speakers"` // distinct users with a message in the window
	Messages int `json:"messages"` // their messages; Redis has to count them
	Online   int `json:"online"`   // viewers now
}

// speakersAlone are the weights when nobody has set any.
var speakersAlone = HeatWeights{Speakers: 1}

func (w HeatWeights) orSpeakersAlone() HeatWeights {
	if w == (HeatWeights{}) {
		return speakersAlone
	}
	return w
}

func (w HeatWeights) heat(g GroupHeat, online int) int {
	return w.Speakers*g.Speakers + w.Messages*g.Messages + w.Online*online
}

// SnapshotTurn says which snapshot serves everybody, or whose turn it is to take the next one.
type SnapshotTurn struct {
	ID    string // of the latest snapshot that is kept, "" for none
	Fresh bool   // it serves everybody
	Mine  bool   // the asker takes the next one
}

// HeatCache is the Redis side of the ranking. The instances share its snapshots, of each type one at a time.
type HeatCache interface {
	Viewers
	// Heat expires what is older than the window, then gives the groups in which somebody spoke, in no order.
	Heat(ctx context.Context) (groups []GroupHeat, nowMS int64, err error)
	// WholeHeat names the generations that all of the heat belongs to, "" while that of any is still being brought back. What
	// Heat gave between two times that it said the same is whole.
	WholeHeat(ctx context.Context) (of string, err error)
	// SnapshotTurn looks for a fresh snapshot. If there is none, and nobody has the turn to take it, token gets it, for as
	// long as hold; asking again prolongs it. Token "" only looks.
	SnapshotTurn(ctx context.Context, typ, token string, hold time.Duration) (SnapshotTurn, error)
	// SaveSnapshot ends the turn: the snapshot serves everybody as long as fresh, and can be read as long as kept. current
	// is another one's id when that has come to serve everybody meanwhile.
	SaveSnapshot(ctx context.Context, typ, token string, s HotSnapshot, fresh, kept time.Duration) (current string, err error)
	// NoSnapshot ends the turn without one.
	NoSnapshot(ctx context.Context, typ, token string) error
	// SnapshotPage reads lines from a snapshot, ok false when it is gone: their ranks, groups, heat and times. Reading its
	// beginning keeps it at least as long as paging.
	SnapshotPage(ctx context.Context, typ, id string, from, limit int, paging time.Duration) (s HotSnapshot, total int, ok bool, err error)
	NowMS(ctx context.Context) (int64, error)
	// Speakers are those who count in groups now, each group's latest first; of very many some are left out.
	Speakers(ctx context.Context, groups []string) ([]Speaker, error)
	// Traffic is the groups' numbers of messages in the window.
	Traffic(ctx context.Context, groups []string) (map[string]int, error)
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
	// Speakers by group, each group's latest first, for a query that asked for them. They are those who counted at
	// ExplainedMS, which is later than the snapshot: who spoke since is there, who has left the window since is not.
	Speakers    map[string][]Speaker
	ExplainedMS int64
	// Weights, and Messages by group, are there as well where heat is not simply the number of speakers.
	Weights  *HeatWeights
	Messages map[string]int
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

// RankingConfig says how the ranking is made; it has to be the same on all instances.
type RankingConfig struct {
	SnapshotTTL time.Duration            // heat.snapshot_ttl: how long a snapshot serves everybody
	Weights     HeatWeights              // heat.weights; all 0: speakers alone
	Took        func(took time.Duration) // told of each snapshot taken here; may be nil
}

// Ranking lists groups by heat.
type Ranking struct {
	cache HeatCache
	heads *Heads
	cfg   RankingConfig
	turns map[string]chan struct{} // by type, to look for the next snapshot: holds a token while nobody here does

	mu    sync.Mutex           // guards types and parts
	parts map[string]time.Time // by type, when the heat was last waited for here in vain
	types map[string]GroupType // of the groups that were ranked lately: a group's never changes
}

// NewRanking wires the ranking.
func NewRanking(cache HeatCache, heads *Heads, cfg RankingConfig) *Ranking {
	cfg.Weights = cfg.Weights.orSpeakersAlone()
	r := &Ranking{cache: cache, heads: heads, cfg: cfg, turns: make(map[string]chan struct{}), types: make(map[string]GroupType), parts: make(map[string]time.Time)}
	for _, typ := range []string{string(Room), string(Private), AllTypes} {
		r.turns[typ] = make(chan struct{}, 1)
		r.turns[typ] <- struct{}{}
	}
	return r
}

// Page answers one page of the ranking.
func (r *Ranking) Page(ctx context.Context, actor Actor, q HotQuery) (*HotPage, error) {
	if err := q.check(actor); err != nil {
		return nil, err
	}
	id, from, err := parseHotCursor(q.Type, q.Cursor)
	if err != nil {
		return nil, err
	}
	page, err := r.read(ctx, q, id, from)
	if err != nil {
		return nil, err
	}
	if err = r.describe(ctx, page); err != nil {
		return nil, err
	}
	if q.Explain {
		err = r.explain(ctx, page)
	}
	return page, err
}

// read reads a page of a snapshot; id "" is the one that serves everybody.
func (r *Ranking) read(ctx context.Context, q HotQuery, id string, from int) (*HotPage, error) {
	for try := 1; ; try++ {
		of := id
		if of == "" {
			var err error
			if of, err = r.current(ctx, q.Type); err != nil {
				return nil, err
			}
		}
		s, total, ok, err := r.cache.SnapshotPage(ctx, q.Type, of, from, q.Limit, hotPaging)
		switch {
		case err != nil:
			return nil, Unavailable(fmt.Errorf("page of hot snapshot: %w", err), "Redis")
		case ok:
			page := &HotPage{HotSnapshot: s, Total: total}
			if next := from + len(s.Entries); next < total {
				page.Cursor = hotCursor(of, next)
			}
			return page, nil
		case id != "":
			return nil, Errorf(CodeGone, "cursor: its snapshot is no longer kept, start again without a cursor")
		case try == hotTries: // Redis loses what it has just been given
			return nil, Unavailable(fmt.Errorf("hot snapshot %s is gone already", of), "Redis")
		}
	}
}

// describe adds what is as it is now, not as it was when the snapshot was taken, and leaves out what was dismissed.
func (r *Ranking) describe(ctx context.Context, page *HotPage) error {
	groups := groupsOf(page.Entries)
	heads, err := r.heads.Get(ctx, "", groups)
	if err != nil {
		return err
	}
	online, err := r.cache.Online(ctx, groups)
	if err != nil {
		return Unavailable(fmt.Errorf("viewers of %d groups: %w", len(groups), err), "Redis")
	}
	kept := make([]HotEntry, 0, len(page.Entries))
	for i, e := range page.Entries {
		if heads[i].Err != nil {
			r.forget(e.Group)
			continue
		}
		e.Name, e.Type, e.Online = heads[i].Name, heads[i].Type, online[e.Group]
		kept = append(kept, e)
	}
	page.Entries = kept
	return nil
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

func parseHotCursor(typ, cursor string) (id string, from int, err error) {
	if cursor == "" {
		return "", 0, nil
	}
	id, offset, ok := strings.Cut(cursor, ".")
	from, err = strconv.Atoi(offset)
	if !ok || err != nil || from < 1 || !ValidID(id) { // from 0 would keep a snapshot for as long as somebody likes
		return "", 0, BadField("cursor", "is not one that this server gave")
	}
	if of, _, _ := strings.Cut(id, "-"); of != typ && (of == string(Room) || of == string(Private) || of == AllTypes) {
		return "", 0, BadField("cursor", "pages through a ranking of another type")
	}
	return id, from, nil
}

func (r *Ranking) explain(ctx context.Context, page *HotPage) error {
	groups := groupsOf(page.Entries)
	speakers, err := r.cache.Speakers(ctx, groups)
	if err != nil {
		return Unavailable(fmt.Errorf("speakers of %d groups: %w", len(groups), err), "Redis")
	}
	if page.ExplainedMS, err = r.cache.NowMS(ctx); err != nil { // behind them: none of them is later
		return Unavailable(fmt.Errorf("time of %d groups' speakers: %w", len(groups), err), "Redis")
	}
	page.Speakers = make(map[string][]Speaker, len(groups))
	for _, s := range speakers {
		page.Speakers[s.Group] = append(page.Speakers[s.Group], s)
	}
	if r.cfg.Weights == speakersAlone {
		return nil
	}
	page.Weights = &r.cfg.Weights
	if r.cfg.Weights.Messages > 0 {
		if page.Messages, err = r.cache.Traffic(ctx, groups); err != nil {
			return Unavailable(fmt.Errorf("messages of %d groups: %w", len(groups), err), "Redis")
		}
	}
	return nil
}

func groupsOf(entries []HotEntry) []string {
	groups := make([]string, len(entries))
	for i := range entries {
		groups[i] = entries[i].Group
	}
	return groups
}
