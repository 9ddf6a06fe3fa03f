package domain_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// fakeSignals answers with what is missing, in turn, then takes everything.
type fakeSignals struct {
	missing []domain.SignalOutcome
	always  bool // the last of missing is so for ever
	err     error
	sent    []domain.Signal
	asked   int
}

func (f *fakeSignals) Signal(_ context.Context, s domain.Signal) (domain.SignalOutcome, error) {
	f.asked++
	if f.err != nil {
		return domain.SignalOutcome{}, f.err
	}
	if len(f.missing) == 0 {
		f.sent = append(f.sent, s)
		return domain.SignalOutcome{}, nil
	}
	next := f.missing[0]
	if !f.always || len(f.missing) > 1 {
		f.missing = f.missing[1:]
	}
	return next, nil
}

func newSignals(f *fakeSignals) (*domain.Signals, *world, *fakePartition) {
	w, p := newWorld(), agreed(3)
	gens, _ := newGenerations(p)
	return domain.NewSignals(f, domain.NewRecovery(gens, w.heads, fakeSeeds{}, w.redis)), w, p
}

func TestSignalIsCheckedAndMadeOneLine(t *testing.T) {
	t.Parallel()
	digits := func(n int) json.RawMessage { return json.RawMessage(strings.Repeat("1", n)) }
	for name, c := range map[string]struct {
		change func(s *domain.Signal)
		code   domain.Code
		field  string
		data   string // of what goes out
	}{
		"without data":             {change: func(*domain.Signal) {}},
		"with data":                {change: func(s *domain.Signal) { s.Data = json.RawMessage("{\"a\": [1,\n\t\"b c\"] }") }, data: `{"a":[1,"b c"]}`},
		"null is data":             {change: func(s *domain.Signal) { s.Data = json.RawMessage("null") }, data: "null"},
		"data at the limit":        {change: func(s *domain.Signal) { s.Data = append(digits(4096), ' ') }, data: string(digits(4096))},
		"data over the limit":      {change: func(s *domain.Signal) { s.Data = digits(4097) }, code: domain.CodeTooLarge, field: "data"},
		"data that is not JSON":    {change: func(s *domain.Signal) { s.Data = json.RawMessage("{") }, code: domain.CodeBadRequest, field: "data"},
		"data that is not text":    {change: func(s *domain.Signal) { s.Data = json.RawMessage("\"\xff\"") }, code: domain.CodeBadRequest, field: "data"},
		"no kind":                  {change: func(s *domain.Signal) { s.Kind = "" }, code: domain.CodeBadRequest, field: "kind"},
		"the longest kind":         {change: func(s *domain.Signal) { s.Kind = strings.Repeat("ü", 32) }},
		"too long a kind":          {change: func(s *domain.Signal) { s.Kind = strings.Repeat("k", 65) }, code: domain.CodeBadRequest, field: "kind"},
		"a kind that is not text":  {change: func(s *domain.Signal) { s.Kind = "\xff" }, code: domain.CodeBadRequest, field: "kind"},
		"no group":                 {change: func(s *domain.Signal) { s.Group = "" }, code: domain.CodeBadRequest, field: "group"},
		"a user":                   {change: func(s *domain.Signal) { s.Group, s.Open = "dm:ann:bob", true }},
		"to a group":               {change: func(s *domain.Signal) { s.Open = true }, code: domain.CodeBadRequest, field: "to"},
		"to oneself":               {change: func(s *domain.Signal) { s.Group, s.Open = "dm:ann:ann", true }, code: domain.CodeBadRequest, field: "to"},
		"a direct group by its id": {change: func(s *domain.Signal) { s.Group = "dm:ann:bob" }},
	} {
		f := &fakeSignals{}
		signals, _, _ := newSignals(f)
		sig := domain.Signal{Group: "g", From: "ann", Kind: "typing"}
		c.change(&sig)
		err := signals.Send(ctx, sig)
		if c.code != "" {
			requireCode(t, err, c.code, c.field)
			require.Zero(t, f.asked, name)
			continue
		}
		require.NoError(t, err, name)
		require.Len(t, f.sent, 1, name)
		require.Equal(t, c.data, string(f.sent[0].Data), name)
	}
}

// Whatever Redis lacks is brought back, each in its way, and then the signal goes out.
func TestSignalBringsBackWhatItMisses(t *testing.T) {
	t.Parallel()
	f := &fakeSignals{missing: []domain.SignalOutcome{
		{Missing: domain.MissingGeneration, Gen: 0}, {Missing: domain.MissingGroup, Gen: 3}, {Missing: domain.MissingSeed, Gen: 3},
	}}
	signals, w, p := newSignals(f)
	w.add(domain.Group{ID: "dm:ann:bob", Type: domain.Direct})
	require.NoError(t, signals.Send(ctx, domain.Signal{Group: "dm:ann:bob", From: "ann", Kind: "typing"}))
	require.Len(t, f.sent, 1)
	require.Equal(t, 1, p.count("renew"))
	require.Contains(t, w.redis.groups, "dm:ann:bob")
	require.Equal(t, map[string]domain.Seed{"dm:ann:bob": {Start: 3_000_000}}, w.redis.seeds)
}

func TestSignalOpensNoConversation(t *testing.T) {
	t.Parallel()
	for open, want := range map[bool]domain.Code{false: domain.CodeNotFound, true: domain.CodeStrangerLimit} {
		f := &fakeSignals{missing: []domain.SignalOutcome{{Missing: domain.MissingGroup}}}
		signals, w, _ := newSignals(f)
		err := signals.Send(ctx, domain.Signal{Group: "dm:ann:bob", From: "ann", Kind: "typing", Open: open})
		requireCode(t, err, want, "")
		require.Empty(t, f.sent)
		require.Empty(t, w.mysql.groups)
	}
}

func TestSignalIsRefusedAsTheStoreSays(t *testing.T) {
	t.Parallel()
	for code, err := range map[domain.Code]error{
		domain.CodeMuted:       domain.Errorf(domain.CodeMuted, "you are muted"),
		domain.CodeUnavailable: errDown, // it may have gone out
	} {
		f := &fakeSignals{err: err}
		signals, _, _ := newSignals(f)
		got := signals.Send(ctx, domain.Signal{Group: "g", From: "ann", Kind: "typing"})
		requireCode(t, got, code, "")
		require.ErrorIs(t, got, err)
		require.Equal(t, 1, f.asked, "%s: not a second time", code)
	}
}

// While MySQL is away the signal waits, some tries long and no longer than its caller.
func TestSignalGivesUpWhenNothingComesBack(t *testing.T) {
	t.Parallel()
	send := func(w *world, signals *domain.Signals, deadline time.Duration) error {
		w.add(domain.Group{ID: "g", Type: domain.Room})
		ctx, cancel := context.WithTimeout(ctx, deadline)
		defer cancel()
		return signals.Send(ctx, domain.Signal{Group: "g", From: "ann", Kind: "typing"})
	}
	missing := []domain.SignalOutcome{{Missing: domain.MissingGroup}}
	synctest.Test(t, func(t *testing.T) {
		f := &fakeSignals{missing: missing, always: true}
		signals, w, _ := newSignals(f)
		w.mysql.down = errDown
		start := time.Now()
		err := send(w, signals, time.Hour)
		requireCode(t, err, domain.CodeUnavailable, "")
		require.ErrorIs(t, err, errDown)
		require.Equal(t, 5, f.asked)
		require.Equal(t, 500*time.Millisecond, time.Since(start))

		f.asked, start = 0, time.Now()
		requireCode(t, send(w, signals, 150*time.Millisecond), domain.CodeUnavailable, "")
		require.Equal(t, 2, f.asked)
		require.Equal(t, 150*time.Millisecond, time.Since(start))
	})
	f := &fakeSignals{missing: missing, always: true} // loaded, and lost again each time
	signals, w, _ := newSignals(f)
	requireCode(t, send(w, signals, time.Hour), domain.CodeUnavailable, "")
	require.Equal(t, 5, f.asked)

	f = &fakeSignals{missing: slices.Concat(missing, missing)} // back after two tries
	signals, w, _ = newSignals(f)
	require.NoError(t, send(w, signals, time.Hour))
	require.Len(t, f.sent, 1)
}
