package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"hearth/domain"
)

const (
	lookInterval = time.Second
	hotRooms     = 20
	awayTimeout  = lookInterval / 2 // for a Redis that is known to be away: who watches sees the rest go on
)

// Overview is the answer to GET /console/api/overview. What is not known is left out.
type Overview struct {
	TimeMS    int64                   `json:"time_ms"`
	Instance  string                  `json:"instance"`
	Totals    domain.FleetTotals      `json:"totals"`
	Stores    map[string]StoreState   `json:"stores"`
	Instances []domain.InstanceStatus `json:"instances"`
	Hot       *HotRooms               `json:"hot,omitempty"`
}

// StoreState is how a store does, seen from the instance that tells.
type StoreState struct {
	OK      bool   `json:"ok"`
	SinceMS int64  `json:"since_ms,omitempty"` // when it was last well; left out when that was never
	Hint    string `json:"hint,omitempty"`
}

// HotRooms is the first page of the ranking.
type HotRooms struct {
	Snapshot string            `json:"snapshot"`
	TimeMS   int64             `json:"time_ms"`
	WindowMS int64             `json:"window_ms"`
	Groups   []domain.HotEntry `json:"groups"`
}

// board holds what all who watch are shown: it is made when somebody asks and the last one is too old, so nobody looks when
// nobody asks.
type board struct {
	look func(ctx context.Context) ([]byte, error)
	kept time.Duration
	turn chan struct{} // holds a token while nobody looks; guards what follows
	last []byte
	at   time.Time
}

func newBoard(kept time.Duration, look func(context.Context) ([]byte, error)) *board {
	b := &board{look: look, kept: kept, turn: make(chan struct{}, 1)}
	b.turn <- struct{}{}
	return b
}

// get is what is shown, as JSON.
func (b *board) get(ctx context.Context) ([]byte, error) {
	select {
	case <-b.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { b.turn <- struct{}{} }()
	if b.last != nil && time.Since(b.at) < b.kept*9/10 { // tickers come a little early, too
		return b.last, nil
	}
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout) // it is for the others as well
	defer cancel()
	seen, err := b.look(looking)
	if err != nil {
		return nil, err
	}
	b.last, b.at = seen, time.Now()
	return b.last, nil
}

// show answers with what a board holds.
func show(w http.ResponseWriter, r *http.Request, b *board) error {
	data, err := b.get(r.Context())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(data[:len(data):len(data)], '\n')) // the client may be gone
	return nil
}

// look makes the overview. What a store does not tell is missing in it.
func (c *Console) look(ctx context.Context) ([]byte, error) {
	now := c.Clock.NowMS() // the ages of what it shows are told from it
	v := Overview{
		TimeMS: now, Instance: c.Instance,
		Stores: map[string]StoreState{"redis": c.store("redis"), "mysql": c.store("mysql")},
	}
	if !v.Stores["redis"].OK {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, awayTimeout)
		defer cancel()
	}
	fleet, err := c.Redis.Fleet(ctx)
	if err != nil && v.Stores["redis"].OK { // the check has not seen it yet
		v.Stores["redis"] = StoreState{SinceMS: now, Hint: "does not answer"}
	}
	own := c.Own()
	if !slices.ContainsFunc(fleet, func(s domain.InstanceStatus) bool { return s.Name == own.Name }) {
		fleet = append(fleet, own)
	}
	v.Instances, v.Totals = fleet, domain.TotalsOf(fleet)
	if err == nil {
		v.Hot = c.hot(ctx)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("overview: %w", err)
	}
	return data, nil
}

func (c *Console) store(name string) StoreState {
	ok, met, detail := c.Health.CheckNow(name)
	if ok {
		return StoreState{OK: true}
	}
	v := StoreState{Hint: detail}
	if !met.IsZero() {
		v.SinceMS = c.Clock.NowMS() - time.Since(met).Milliseconds()
	}
	return v
}

func (c *Console) hot(ctx context.Context) *HotRooms {
	page, err := c.Ranking.Page(ctx, domain.Actor{Key: "console"}, domain.HotQuery{Type: domain.AllTypes, Limit: hotRooms})
	if err != nil {
		return nil // the stores tell why
	}
	v := &HotRooms{Snapshot: page.ID, TimeMS: page.TimeMS, WindowMS: c.HeatWindow.Milliseconds(), Groups: page.Entries}
	if v.Groups == nil {
		v.Groups = []domain.HotEntry{}
	}
	return v
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request, _ session) error {
	return show(w, r, c.board)
}
