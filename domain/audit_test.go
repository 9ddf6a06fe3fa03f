package domain_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

// soundGroup is a group about which Redis and MySQL agree: runs of rows and holes, and behind them what is on its way.
type soundGroup struct {
	rows   domain.AuditedRows
	cache  domain.AuditedCache
	stored []domain.Message
}

func auditedMessage(seq, gen int64) domain.Message {
	body := fmt.Appendf(nil, `[{"type":"text","text":"%d"}]`, seq)
	m := domain.Message{Group: "g", Seq: seq, TimeMS: 1000 * seq, Gen: gen, Body: body, Hash: domain.ContentHash(body, nil, 0)}
	m.From, m.ClientID = fmt.Sprint("u", seq%3), fmt.Sprint("c", seq)
	return m
}

func drawSoundGroup(t *rapid.T) *soundGroup {
	g := &soundGroup{
		rows: domain.AuditedRows{Group: domain.Group{ID: "g", Version: 3, MemberCount: 2}, Marks: map[string]int64{}},
		cache: domain.AuditedCache{
			Seeded: true, Pending: map[int64]bool{}, Recent: map[int64]domain.Digest{}, Version: 3,
			Members: map[string]domain.Membership{}, Marks: map[string]int64{}, Dirty: map[string]int64{},
		},
	}
	seq, gen := int64(0), int64(1)
	for range rapid.IntRange(0, 5).Draw(t, "runs") {
		n := rapid.Int64Range(1, 4).Draw(t, "run")
		if rapid.Bool().Draw(t, "hole") {
			reason := rapid.SampledFrom([]string{domain.HoleLost, domain.HoleExpired}).Draw(t, "reason")
			g.rows.Holes = append(g.rows.Holes, domain.Hole{From: seq + 1, To: seq + n, Reason: reason})
			g.rows.Seed, gen = seq+n, gen+1
		} else {
			for s := seq + 1; s <= seq+n; s++ {
				g.stored = append(g.stored, auditedMessage(s, gen))
			}
		}
		seq += n
	}
	g.cache.Persisted = seq
	waiting := rapid.Int64Range(0, 3).Draw(t, "waiting")
	for s := seq + 1; s <= seq+waiting; s++ {
		m := auditedMessage(s, gen)
		g.cache.Recent[s] = domain.TailDigest(m.Record().Tail)
		if rapid.Bool().Draw(t, "stored meanwhile") && len(g.cache.Pending) == 0 {
			g.stored = append(g.stored, m)
		} else {
			g.cache.Pending[s] = true
		}
	}
	g.cache.Seq, g.cache.Later = seq+waiting, seq+waiting+rapid.Int64Range(0, 2).Draw(t, "later")
	for i, m := range g.stored {
		if i >= len(g.stored)-5 {
			g.cache.Recent[m.Seq] = domain.TailDigest(m.Record().Tail)
		}
	}
	for _, user := range []string{"u0", "u1"} {
		m := domain.Membership{User: user, Role: domain.Member}
		g.rows.Members, g.cache.Members[user] = append(g.rows.Members, m), m
		mark := rapid.Int64Range(0, seq).Draw(t, "mark")
		g.rows.Marks[user] = mark
		switch rapid.IntRange(0, 2).Draw(t, "cached mark") {
		case 1:
			g.cache.Marks[user] = mark
		case 2:
			g.cache.Marks[user] = seq
			g.cache.Dirty[user] = seq
		}
	}
	muted := domain.Membership{User: "left", MuteUntilMS: domain.MuteForever}
	g.rows.Members, g.cache.Members[muted.User] = append(g.rows.Members, muted), muted
	g.cache.Holes = merged(g.rows.Holes)
	return g
}

func merged(holes []domain.Hole) (out domain.Holes) {
	for _, h := range holes {
		if n := len(out); n > 0 && out[n-1].To+1 == h.From && out[n-1].Reason == h.Reason {
			out[n-1].To = h.To
			continue
		}
		out = append(out, h)
	}
	return out
}

func (g *soundGroup) audit() []domain.Finding {
	audit := domain.NewGroupAudit(g.rows, &g.cache)
	for i := range g.stored {
		audit.Row(&g.stored[i])
	}
	return audit.End()
}

func TestASoundGroupHasNoFindings(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		if found := drawSoundGroup(t).audit(); len(found) > 0 {
			t.Fatalf("findings of a sound group: %+v", found)
		}
	})
}

// TestAFaultIsFoundByItsCheck plants one fault in whatever sound group.
func TestAFaultIsFoundByItsCheck(t *testing.T) {
	t.Parallel()
	some := func(t *rapid.T, g *soundGroup) int { return rapid.IntRange(0, len(g.stored)-1).Draw(t, "row") }
	for name, fault := range map[string]struct {
		check domain.Check
		plant func(t *rapid.T, g *soundGroup)
	}{
		"a row is gone": {domain.CheckSeqs, func(t *rapid.T, g *soundGroup) {
			i := some(t, g)
			g.stored = slices.Delete(g.stored, i, i+1)
		}},
		"a hole covers a row": {domain.CheckSeqs, func(t *rapid.T, g *soundGroup) {
			seq := g.stored[some(t, g)].Seq
			g.rows.Holes = append(g.rows.Holes, domain.Hole{From: seq, To: seq, Reason: domain.HoleLost})
			slices.SortFunc(g.rows.Holes, func(a, b domain.Hole) int { return int(a.From - b.From) })
			g.cache.Holes = merged(g.rows.Holes)
		}},
		"the seq rises": {domain.CheckSeqs, func(_ *rapid.T, g *soundGroup) { g.cache.Seq += 2; g.cache.Later += 2 }},
		"the seq falls": {domain.CheckSeqs, func(_ *rapid.T, g *soundGroup) {
			g.cache.Later = g.stored[len(g.stored)-1].Seq - 1
			g.cache.Marks, g.cache.Dirty = nil, nil
		}},
		"a message is nowhere but in recent": {domain.CheckSeqs, func(_ *rapid.T, g *soundGroup) {
			g.cache.Seq++
			g.cache.Later++
			g.cache.Recent[g.cache.Seq] = domain.Digest{}
		}},
		"the watermark rises": {domain.CheckWatermark, func(_ *rapid.T, g *soundGroup) { g.cache.Persisted = g.cache.Seq + 1 }},
		"what is up to the watermark waits": {domain.CheckWatermark, func(t *rapid.T, g *soundGroup) {
			seq := g.stored[some(t, g)].Seq
			g.cache.Persisted = max(g.cache.Persisted, seq)
			g.cache.Pending[seq] = true
		}},
		"a body": {domain.CheckRecent, func(t *rapid.T, g *soundGroup) { g.stored[some(t, g)].Body = []byte(`[]`) }},
		"what recent shows": {domain.CheckRecent, func(_ *rapid.T, g *soundGroup) {
			g.cache.Recent[g.stored[len(g.stored)-1].Seq] = domain.Digest{1}
		}},
		"a mark": {domain.CheckReadMarks, func(_ *rapid.T, g *soundGroup) { g.cache.Marks["u0"] = g.cache.Later + 1 }},
		"a mark that nobody writes": {domain.CheckReadMarks, func(t *rapid.T, g *soundGroup) {
			delete(g.cache.Dirty, "u0")
			g.rows.Marks["u0"], g.cache.Marks["u0"] = 0, g.stored[0].Seq
			g.cache.Persisted = max(g.cache.Persisted, g.stored[0].Seq)
			if len(g.cache.Pending) > 0 || g.stored[0].Seq > g.cache.Seq {
				t.Skip("the watermark would be wrong, too")
			}
		}},
		"a stored mark": {domain.CheckReadMarks, func(_ *rapid.T, g *soundGroup) {
			g.rows.Marks["u2"] = g.cache.Later + 1
		}},
		"a role":         {domain.CheckMembers, func(_ *rapid.T, g *soundGroup) { g.rows.Members[0].Role = domain.Admin }},
		"a member_count": {domain.CheckMembers, func(_ *rapid.T, g *soundGroup) { g.rows.MemberCount++ }},
		"a version":      {domain.CheckMembers, func(_ *rapid.T, g *soundGroup) { g.cache.Version++ }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				g := drawSoundGroup(t)
				if len(g.stored) == 0 {
					t.Skip("no rows")
				}
				fault.plant(t, g)
				found := g.audit()
				if len(found) == 0 {
					t.Fatal("not found")
				}
				for _, f := range found {
					if f.Check != fault.check {
						t.Fatalf("got %+v, want %s", f, fault.check)
					}
				}
			})
		})
	}
}

func TestARepeatOutsideTheWindowIsAnotherSend(t *testing.T) {
	t.Parallel()
	first, second := auditedMessage(1, 1), auditedMessage(2, 1)
	second.From, second.ClientID = first.From, first.ClientID
	for after, want := range map[time.Duration]int{domain.DedupeWindow: 0, domain.DedupeWindow - 1*time.Millisecond: 1} {
		second.TimeMS = first.TimeMS + after.Milliseconds()
		g := &soundGroup{rows: domain.AuditedRows{Group: domain.Group{ID: "g"}}, stored: []domain.Message{first, second}}
		require.Len(t, g.audit(), want, after)
	}
}

func TestARecalledMessageMayDiffer(t *testing.T) {
	t.Parallel()
	m := auditedMessage(1, 1)
	g := &soundGroup{rows: domain.AuditedRows{Group: domain.Group{ID: "g"}}, stored: []domain.Message{m}}
	g.cache.Recent = map[int64]domain.Digest{1: domain.TailDigest(m.Record().Tail)}
	g.stored[0].RecalledMS, g.stored[0].Body = 5, nil
	require.Empty(t, g.audit())
}

func TestAMessageWhoseBodyAHookReplacedMayDifferFromItsHash(t *testing.T) {
	t.Parallel()
	m := auditedMessage(1, 1)
	sent := domain.ContentHash([]byte(`["as sent"]`), m.Mentions, m.ReplyTo)
	g := &soundGroup{rows: domain.AuditedRows{Group: domain.Group{ID: "g"}}, stored: []domain.Message{m}}
	g.cache.Recent = map[int64]domain.Digest{1: domain.TailDigest(m.Record().Tail)}
	g.stored[0].Hash = sent
	require.NotEmpty(t, g.audit())
	g.stored[0].Hash = "x" + sent[1:]
	require.Empty(t, g.audit())
	g.stored[0].Body = []byte(`["other than what was shown"]`)
	require.NotEmpty(t, g.audit())
}

// TestAuditHeatCountsAsBruteForceDoes moves a ranking as sends and expiry do, and audits it at a moment on the way.
func TestAuditHeatCountsAsBruteForceDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const window = 50
		h := domain.AuditedHeat{Whole: true, Heat: map[string]int{}, Speakers: map[domain.GroupUser]int64{}}
		spoke := map[domain.GroupUser]domain.Spoke{}
		sends := rapid.SliceOfN(rapid.IntRange(0, 11), 0, 60).Draw(t, "sends")
		read := rapid.IntRange(0, len(sends)).Draw(t, "read behind")
		h.NowMS = 1000 + int64(10*read)
		for n, send := range sends {
			who, ms := domain.GroupUser{Group: fmt.Sprint("g", send%3), User: fmt.Sprint("u", send/3)}, 1000+int64(10*n)
			spoke[who] = spoke[who].Merge(ms, h.NowMS)
			if n >= read {
				continue
			}
			if _, counts := h.Speakers[who]; !counts {
				h.Heat[who.Group]++
			}
			h.Speakers[who] = ms
			for s, at := range h.Speakers {
				if at <= ms-window && rapid.Bool().Draw(t, "expired in time") {
					delete(h.Speakers, s)
					if h.Heat[s.Group]--; h.Heat[s.Group] == 0 {
						delete(h.Heat, s.Group)
					}
				}
			}
		}
		if found := domain.AuditHeat(h, spoke, window); len(found) > 0 {
			t.Fatalf("a sound ranking: %+v", found)
		}
		h.Speakers[domain.GroupUser{Group: "g0", User: "silent"}] = h.NowMS
		h.Heat["g0"]++
		h.Heat["g1"]++
		found := domain.AuditHeat(h, spoke, window)
		if len(found) != 2 || found[0].Group != "g0" || found[1].Group != "g1" || found[0].Check != domain.CheckHeat {
			t.Fatalf("got %+v, want one who did not speak in g0 and a count in g1", found)
		}
		h.Whole = false // who spoke is still being brought back from MySQL
		if found = domain.AuditHeat(h, spoke, window); len(found) != 1 || found[0].Group != "g1" {
			t.Fatalf("got %+v, want a count in g1", found)
		}
	})
}

func TestAuditGeneration(t *testing.T) {
	t.Parallel()
	row, seen := domain.Generation{Gen: 2, Server: "s", Settled: 2}, domain.Observed{Gen: 2, Server: "s", Identity: "s"}
	require.Empty(t, domain.AuditGeneration(3, row, seen))
	require.Empty(t, domain.AuditGeneration(3, domain.Generation{}, domain.Observed{Identity: "s"}), "never used")
	unsettled, old, other, empty := row, row, seen, domain.Observed{Identity: "s"}
	unsettled.Settled, old.Gen, other.Identity = 1, 1, "t"
	require.Len(t, domain.AuditGeneration(3, unsettled, seen), 1)
	require.Len(t, domain.AuditGeneration(3, old, seen), 1)
	require.Len(t, domain.AuditGeneration(3, row, other), 1)
	found := domain.AuditGeneration(3, row, empty)
	require.Len(t, found, 1)
	require.Equal(t, "partition 3", found[0].Subject())
}

// auditWorld is a system of one partition with one group of whose seqs one is missing, or only seems so.
type auditWorld struct {
	domain.AuditCache
	domain.AuditStore
	looks   int
	missing func(look int) bool
	gen     func(look int) int64
}

func (w *auditWorld) ObserveAll(context.Context) ([]domain.Observed, error) {
	return []domain.Observed{{Gen: w.gen(w.looks), Server: "s", Identity: "s"}}, nil
}

func (w *auditWorld) AllGenerations(context.Context) (map[int]domain.Generation, error) {
	gen := w.gen(w.looks)
	return map[int]domain.Generation{0: {Gen: gen, Server: "s", Settled: gen}}, nil
}

func (w *auditWorld) AuditPage(_ context.Context, after string, _, _ int) ([]string, error) {
	if after == "" {
		return []string{"g"}, nil
	}
	return nil, nil
}

func (w *auditWorld) AuditGroups(_ context.Context, gens []int64, groups []string) (map[string]*domain.AuditedCache, error) {
	w.looks++
	caches := make(map[string]*domain.AuditedCache)
	for _, g := range groups {
		caches[g] = &domain.AuditedCache{Seeded: true, Seq: 1, Persisted: 1}
	}
	return caches, nil
}

func (w *auditWorld) AuditSeqs(context.Context, []int64, []string) (map[string]int64, error) {
	return map[string]int64{"g": 1}, nil
}

func (w *auditWorld) Audit(_ context.Context, groups []string, begin func(domain.AuditedRows) func(*domain.Message)) error {
	for _, g := range groups {
		row := begin(domain.AuditedRows{Group: domain.Group{ID: g}})
		if m := auditedMessage(1, 1); !w.missing(w.looks) {
			row(&m)
		}
	}
	return nil
}

func (w *auditWorld) EachSeeded(_ context.Context, _ domain.LogRange, found func([]string) error) error {
	return found([]string{"g"})
}

func (w *auditWorld) KnownGroups(context.Context, []string) (map[string]bool, error) {
	return map[string]bool{"g": false}, nil
}

func (w *auditWorld) AuditHeat(context.Context, int) (h domain.AuditedHeat, err error) { return h, nil }

func (w *auditWorld) EachLogged(context.Context, domain.LogRange, func(*domain.Message)) error {
	return nil
}

func (w *auditWorld) Spoke(context.Context, string, int64, int64) (map[domain.GroupUser]domain.Spoke, error) {
	return nil, nil
}

func (w *auditWorld) SetAsideLogs(context.Context) (map[string]int64, error) {
	return map[string]int64{"late": 2}, nil
}

func (w *auditWorld) Backlog(context.Context, []domain.LogRange) (int64, error) { return 3, nil }
func (w *auditWorld) CountDeadLetters(context.Context) (int64, error)           { return 1, nil }

func (w *auditWorld) run(t *testing.T) *domain.Audit {
	t.Helper()
	audit, err := domain.NewAuditor(w, w, 1, time.Minute).Run(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, 1, audit.Groups)
	require.Equal(t, []string{"late: 2 messages that came too late to be stored", "3 messages wait for MySQL", "1 dead letters"}, audit.Notes)
	return audit
}

func TestWhatOnlySeemedWrongIsNotReported(t *testing.T) {
	t.Parallel()
	one := func(int) int64 { return 1 }
	for name, c := range map[string]struct {
		missing  func(look int) bool
		gen      func(look int) int64
		findings int
		looks    int
	}{
		"sound":             {func(int) bool { return false }, one, 0, 1},
		"wrong at first":    {func(look int) bool { return look == 1 }, one, 0, 2},
		"wrong twice":       {func(look int) bool { return look <= 2 }, one, 0, 3},
		"wrong":             {func(int) bool { return true }, one, 1, 3},
		"the history moved": {func(look int) bool { return look == 1 }, func(look int) int64 { return int64(1 + min(look, 1)) }, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &auditWorld{missing: c.missing, gen: c.gen}
				require.Len(t, w.run(t).Findings, c.findings)
				require.Equal(t, c.looks, w.looks)
			})
		})
	}
}
