package domain_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
)

const plenty = 1 << 30 // bytes of a journal that is never full

// kept is what a journal is given of a message, in one of the three ways in which it comes.
type kept struct {
	gen int64
	domain.Message
}

// keptMessage is one whose content follows from group, generation and seq.
func keptMessage(group string, gen, seq int64) kept {
	body := fmt.Appendf(nil, `[{"type":"text","text":"%s %d %d"}]`, group, gen, seq)
	m := domain.Message{
		Group: group, Seq: seq, TimeMS: 1_700_000_000_000 + seq, Gen: gen,
		Header: domain.Header{From: fmt.Sprint("u", seq%3), ClientID: fmt.Sprint("c", seq)}, Body: body,
	}
	m.Hash = domain.ContentHash(m.Body, m.Mentions, m.ReplyTo)
	return kept{gen, m}
}

func (k kept) accepted(persisted int64) domain.Accepted {
	return domain.Accepted{Group: k.Group, Gen: k.gen, Seq: k.Seq, TimeMS: k.TimeMS, PersistedSeq: persisted}
}

func (k kept) send(j *domain.Journal) bool { return k.sendAbove(j, 0) }

func (k kept) sendAbove(j *domain.Journal, persisted int64) bool {
	if record := k.Record(); record.Hash != "" {
		return j.KeepReplaced(k.accepted(persisted), k.Header.AppendJSON(nil), k.Body, record.Hash)
	}
	return j.KeepSend(k.accepted(persisted), k.Header.AppendJSON(nil), k.Body)
}

// push is what append.lua publishes.
func (k kept) push(j *domain.Journal) bool {
	event := append([]byte(`{"event":"message",`), k.Record().AppendJSON(nil)[1:]...)
	return j.KeepPush(domain.Push{Group: k.Group, Gen: k.gen, Seq: k.Seq, Event: event, Hash: k.Record().Hash})
}

func (k kept) show(j *domain.Journal) bool { return j.KeepRecord(k.gen, 0, k.Record()) }

var waysToKeep = map[string]func(kept, *domain.Journal) bool{"send": kept.send, "push": kept.push, "record": kept.show}

func TestTheJournalGivesBackWhatTheAppendStored(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]domain.Draft{
		"plain":      {From: "ann", Body: hi},
		"everything": {From: "ann", Body: hi, ClientID: "c:1", Mentions: []string{"bob", "carol"}, ReplyTo: 41, Operator: "key-1"},
		"system":     {From: "system", Body: hi, Operator: "key-1"},
		"quotes and names of our fields": {
			From: "ann", Body: []byte(`[{"type":"text","text":"\"time_ms\":1,\"from\":\"eve\",\"body\":[]}  é \u2028 <&>"}]`), ClientID: "time_ms",
		},
		"numbers that floats cannot hold": {From: "ann", Body: []byte(`[{"type":"custom","data":{"n":12345678901234567890,"f":1.10}}]`)},
	} {
		d.Group = "dm:ann:bob"
		want := domain.Message{
			Group: d.Group, Seq: 9_007_199_254_740_991, TimeMS: 1_700_000_000_123, Gen: 7,
			Header: domain.Header{From: d.From, ClientID: d.ClientID, Mentions: d.Mentions, ReplyTo: d.ReplyTo, Operator: d.Operator},
			Body:   d.Body, Hash: domain.ContentHash(d.Body, d.Mentions, d.ReplyTo),
		}
		replaced := want
		replaced.Hash = "x" + domain.ContentHash([]byte(`[]`), d.Mentions, d.ReplyTo)[1:] // of what was sent
		for way, keep := range waysToKeep {
			for _, want := range []domain.Message{want, replaced} {
				j := domain.NewJournal(4, plenty)
				require.True(t, keep(kept{7, want}, j), "%s, %s", name, way)
				u, err := j.Close(domain.Partitions(4).Of(d.Group), 8)
				require.NoError(t, err, "%s, %s", name, way)
				require.Equal(t, []domain.Message{want}, u.Messages, "%s, %s", name, way)
			}
		}
	}
}

func TestAMessageIsForgottenBehindTheWatermarkOfItsGenerationOnly(t *testing.T) {
	t.Parallel()
	j := domain.NewJournal(1, plenty)
	for gen := range int64(3) {
		for seq := range int64(4) {
			require.True(t, keptMessage("g", gen+1, gen*100+seq+1).send(j))
		}
	}
	j.Committed("g", 2, 102)
	requireSeqs(t, j, 1, 2, 3, 4, 103, 104, 201, 202, 203, 204)
	j.Committed("g", 1, 1_000_000)
	requireSeqs(t, j, 103, 104, 201, 202, 203, 204)
	j.Committed("g", 4, 1_000_000)
	j.Committed("g", 3, 200)
	j.Committed("other", 3, 1_000_000)
	requireSeqs(t, j, 103, 104, 201, 202, 203, 204)
	j.Committed("g", 3, 204)
	j.Committed("g", 2, 103)
	j.Committed("g", 2, 102)
	requireSeqs(t, j, 104)
	require.True(t, keptMessage("g", 2, 104).sendAbove(j, 104), "MySQL has it: it need not be kept")
	require.True(t, keptMessage("g", 2, 105).sendAbove(j, 105))
	requireSeqs(t, j, 104)
	j.Committed("g", 2, 104)
	require.Zero(t, j.Bytes())
	require.Zero(t, j.Dropped())
}

// requireSeqs: the journal of one partition holds exactly these seqs.
func requireSeqs(t *testing.T, j *domain.Journal, want ...int64) {
	t.Helper()
	u, err := j.All(0)
	require.NoError(t, err)
	var got []int64
	for _, m := range u.Messages {
		got = append(got, m.Seq)
	}
	require.Equal(t, want, got)
}

func TestAClosedGenerationIsNotBelieved(t *testing.T) {
	t.Parallel()
	j := domain.NewJournal(1, plenty)
	require.False(t, j.Over("g", 0))
	require.True(t, keptMessage("g", 1, 1).send(j))
	u, err := j.Close(0, 3)
	require.NoError(t, err)
	require.Len(t, u.Messages, 1)
	for way, keep := range waysToKeep {
		require.False(t, keep(keptMessage("g", 2, 2), j), way)
		require.False(t, keep(keptMessage("new", 1, 2), j), way)
		require.True(t, keep(keptMessage("g", 3, 100), j), way)
		require.True(t, keep(keptMessage("g", 4, 200), j), "%s: of one that this instance has not heard of", way)
	}
	require.False(t, keptMessage("g", 2, 2).sendAbove(j, 2), "MySQL may have it, but who knows which it is")
	require.False(t, j.KeepMark(annIn("g"), domain.ReadMark{Gen: 2, Seq: 1}))
	require.True(t, j.KeepMark(annIn("g"), domain.ReadMark{Gen: 3, Seq: 1}))
	require.True(t, j.Over("g", 2))
	require.False(t, j.Over("g", 3))

	_, err = j.Close(0, 2)
	require.NoError(t, err)
	require.True(t, j.Over("g", 2), "a generation never opens again")
	require.False(t, keptMessage("g", 2, 2).send(j))
}

func annIn(group string) domain.GroupUser { return domain.GroupUser{Group: group, User: "ann"} }

func TestWhatCannotBeReadDoesNotHideTheRest(t *testing.T) {
	t.Parallel()
	j := domain.NewJournal(1, plenty)
	for seq := range int64(20) {
		require.True(t, keptMessage(fmt.Sprint("g", seq), 1, seq+1).send(j))
	}
	require.True(t, j.KeepPush(domain.Push{Group: "g7", Gen: 1, Seq: 5, Event: []byte(`{"event":"message"`)}))
	require.True(t, j.KeepSend(domain.Accepted{Group: "g8", Gen: 1, Seq: 5}, []byte(`"from`), hi))
	require.True(t, j.KeepMark(annIn("g7"), domain.ReadMark{Gen: 1, Seq: 3}))
	u, err := j.Close(0, 2)
	require.ErrorContains(t, err, "g7/5")
	require.ErrorContains(t, err, "g8/5")
	require.Len(t, u.Messages, 20)
	require.Len(t, u.Marks, 1)
}

func TestTheJournalHoldsTheHighestMarkUntilItIsWritten(t *testing.T) {
	t.Parallel()
	j := domain.NewJournal(1, plenty)
	who := annIn("g")
	for _, mark := range []domain.ReadMark{{Gen: 1, Seq: 5}, {Gen: 1, Seq: 3}, {Gen: 2, Seq: 5}} {
		require.True(t, j.KeepMark(who, mark))
	}
	u, err := j.Close(0, 2)
	require.NoError(t, err)
	require.Equal(t, map[domain.GroupUser]domain.ReadMark{who: {Gen: 1, Seq: 5}}, u.Marks)
	require.True(t, j.KeepMark(who, domain.ReadMark{Gen: 2, Seq: 8}))
	j.Written(0, u)
	u, err = j.All(0)
	require.NoError(t, err)
	require.Equal(t, map[domain.GroupUser]domain.ReadMark{who: {Gen: 2, Seq: 8}}, u.Marks, "it has moved on meanwhile")
	j.Written(0, u)
	u, err = j.All(0)
	require.NoError(t, err)
	require.Empty(t, u.Marks)
}

// While MySQL is away nothing is written, and everybody goes on reading.
func TestMarksLeaveRoomForMessages(t *testing.T) {
	t.Parallel()
	j := domain.NewJournal(1, 100_000)
	who := func(n int) domain.GroupUser { return domain.GroupUser{Group: "g", User: fmt.Sprint("u", n)} }
	for n := range 10_000 {
		require.True(t, j.KeepMark(who(n), domain.ReadMark{Gen: 1, Seq: 5}))
	}
	u, err := j.All(0)
	require.NoError(t, err)
	require.Greater(t, len(u.Marks), 50)
	require.EqualValues(t, 10_000-len(u.Marks), j.Dropped())
	require.LessOrEqual(t, j.Bytes(), int64(25_000))
	require.True(t, j.KeepMark(who(0), domain.ReadMark{Gen: 1, Seq: 6}))
	dropped := j.Dropped()
	require.True(t, keptMessage("g", 1, 7).send(j))
	require.Equal(t, dropped, j.Dropped(), "one that is there moves on, and there is room for messages")

	u, err = j.All(0)
	require.NoError(t, err)
	require.Equal(t, domain.ReadMark{Gen: 1, Seq: 6}, u.Marks[who(0)])
	require.Len(t, u.Messages, 1)
	j.Written(0, u)
	require.Zero(t, j.Bytes())
	require.True(t, j.KeepMark(who(1), domain.ReadMark{Gen: 1, Seq: 9}))
	require.Equal(t, dropped, j.Dropped())
}

func TestWhatLiesForARoundIsLingering(t *testing.T) {
	t.Parallel()
	j := domain.NewJournal(1, plenty)
	lingering := func() []string {
		groups, _ := j.Lingering(0, 1)
		slices.Sort(groups)
		return groups
	}
	require.True(t, keptMessage("still", 1, 1).send(j))
	require.True(t, keptMessage("flowing", 1, 1).send(j))
	require.True(t, keptMessage("other generation", 2, 1).send(j))
	require.True(t, j.KeepMark(annIn("still"), domain.ReadMark{Gen: 1, Seq: 1}))
	require.True(t, j.KeepMark(annIn("other"), domain.ReadMark{Gen: 2, Seq: 1}))
	require.Empty(t, lingering(), "it has only come")
	require.True(t, keptMessage("still", 1, 2).send(j))
	require.True(t, keptMessage("flowing", 1, 2).send(j))
	j.Committed("flowing", 1, 1)
	_, marks := j.Lingering(0, 1)
	require.Equal(t, map[domain.GroupUser]domain.ReadMark{annIn("still"): {Gen: 1, Seq: 1}}, marks)
	require.Equal(t, []string{"flowing", "still"}, lingering())
	j.Committed("still", 1, 2)
	require.Equal(t, []string{"flowing"}, lingering())
	require.Equal(t, []string{"flowing"}, lingering(), "what holds nothing is let go")
	require.True(t, keptMessage("still", 1, 3).send(j))
	require.Equal(t, []string{"flowing"}, lingering())
	require.Equal(t, []string{"flowing", "still"}, lingering())
}

func TestAFullJournalGivesUpTheOldestOfTheGroup(t *testing.T) {
	t.Parallel()
	one := domain.NewJournal(1, plenty)
	require.True(t, keptMessage("g", 1, 100).send(one))
	size := one.Bytes()
	require.Greater(t, size, int64(len(keptMessage("g", 1, 100).Body)))

	j := domain.NewJournal(1, 5*size)
	for seq := int64(101); seq <= 103; seq++ {
		require.True(t, keptMessage("h", 1, seq).send(j))
	}
	for seq := int64(101); seq <= 200; seq++ {
		require.True(t, keptMessage("g", 1, seq).send(j))
	}
	requireSeqs(t, j, 199, 200, 101, 102, 103)
	require.Equal(t, int64(98), j.Dropped())
	require.True(t, keptMessage("g", 1, 150).send(j), "older than all that the group has")
	require.True(t, keptMessage("i", 1, 150).send(j), "the group has nothing that could give way")
	requireSeqs(t, j, 199, 200, 101, 102, 103)
	require.Equal(t, int64(100), j.Dropped())
	require.Equal(t, 5*size, j.Bytes())

	j.Committed("h", 1, 103)
	require.True(t, keptMessage("i", 1, 150).send(j))
	requireSeqs(t, j, 199, 200, 150)
	j.Committed("g", 1, 200)
	j.Committed("i", 1, 150)
	require.Zero(t, j.Bytes())

	nothing := domain.NewJournal(1, 0)
	require.True(t, keptMessage("g", 1, 1).send(nothing), "without room it is believed all the same")
	require.Equal(t, int64(1), nothing.Dropped())
	require.Zero(t, nothing.Bytes())
}

// model is a journal without bounds, as a reader would write it down first.
type model struct {
	open     map[int]int64
	messages map[place]kept
	marks    map[domain.GroupUser]domain.ReadMark
}

type place struct {
	group string
	seq   int64
}

const modelPartitions = domain.Partitions(2)

// below is what the model holds of a partition's generations below gen.
func (m *model) below(partition int, gen int64) (u domain.Unwritten) {
	for at, k := range m.messages {
		if modelPartitions.Of(at.group) == partition && k.gen < gen {
			u.Messages = append(u.Messages, k.Message)
		}
	}
	slices.SortFunc(u.Messages, func(a, b domain.Message) int { return domain.CompareMessages(&a, &b) })
	u.Marks = maps.Clone(m.marks)
	maps.DeleteFunc(u.Marks, func(who domain.GroupUser, mark domain.ReadMark) bool {
		return modelPartitions.Of(who.Group) != partition || mark.Gen >= gen
	})
	return u
}

// In whatever order things come, the journal holds what was kept, until the watermark of the same generation has passed
// it or it was written; and nothing else.
func TestTheJournalIsItsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		j := domain.NewJournal(modelPartitions, plenty)
		m := model{map[int]int64{}, map[place]kept{}, map[domain.GroupUser]domain.ReadMark{}}
		groups := []string{"a", "b", "c", "d"}
		group := rapid.SampledFrom(groups)
		gens := rapid.Int64Range(1, 4)
		seqs := rapid.Int64Range(1, 12)
		partition := rapid.IntRange(0, int(modelPartitions)-1)
		var taken []func() // what Close and All gave, to be written later
		take := func(t *rapid.T, p int, gen int64, got domain.Unwritten, err error) {
			require.NoError(t, err)
			want := m.below(p, gen)
			require.Equal(t, want.Messages, got.Messages)
			require.Equal(t, want.Marks, got.Marks)
			taken = append(taken, func() {
				j.Written(p, got)
				for _, message := range got.Messages {
					delete(m.messages, place{message.Group, message.Seq})
				}
				for who, mark := range got.Marks {
					if m.marks[who] == mark {
						delete(m.marks, who)
					}
				}
			})
		}
		keep := func(t *rapid.T) {
			gen := gens.Draw(t, "gen")
			k := keptMessage(group.Draw(t, "group"), gen, gen*100+seqs.Draw(t, "seq"))
			way := rapid.SampledFrom(slices.Sorted(maps.Keys(waysToKeep))).Draw(t, "way")
			believed := gen >= m.open[modelPartitions.Of(k.Group)]
			require.Equal(t, believed, waysToKeep[way](k, j))
			if believed {
				m.messages[place{k.Group, k.Seq}] = k
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"keep": keep, "keep more": keep, "keep still more": keep,
			"mark": func(t *rapid.T) {
				who, mark := annIn(group.Draw(t, "group")), domain.ReadMark{Gen: gens.Draw(t, "gen"), Seq: seqs.Draw(t, "seq")}
				believed := mark.Gen >= m.open[modelPartitions.Of(who.Group)]
				require.Equal(t, believed, j.KeepMark(who, mark))
				if believed && mark.Seq > m.marks[who].Seq {
					m.marks[who] = mark
				}
			},
			"committed": func(t *rapid.T) {
				g, gen := group.Draw(t, "group"), gens.Draw(t, "gen")
				seq := gen*100 + seqs.Draw(t, "seq")
				j.Committed(g, gen, seq)
				maps.DeleteFunc(m.messages, func(at place, k kept) bool { return at.group == g && k.gen == gen && k.Seq <= seq })
			},
			"close": func(t *rapid.T) {
				p, gen := partition.Draw(t, "partition"), gens.Draw(t, "gen")
				got, err := j.Close(p, gen)
				m.open[p] = max(m.open[p], gen)
				take(t, p, gen, got, err)
			},
			"all": func(t *rapid.T) {
				p := partition.Draw(t, "partition")
				got, err := j.All(p)
				take(t, p, 100, got, err)
			},
			"written": func(t *rapid.T) {
				if len(taken) == 0 {
					t.Skip("nothing")
				}
				n := rapid.IntRange(0, len(taken)-1).Draw(t, "which")
				taken[n]()
				taken = slices.Delete(taken, n, n+1)
			},
			"lingering": func(t *rapid.T) {
				p, gen := partition.Draw(t, "partition"), gens.Draw(t, "gen")
				held, marks := j.Lingering(p, gen)
				for _, g := range held {
					require.Equal(t, p, modelPartitions.Of(g))
					require.True(t, slices.ContainsFunc(m.below(p, gen+1).Messages, func(k domain.Message) bool { return k.Group == g && k.Gen == gen }))
				}
				for who, mark := range marks {
					require.Equal(t, mark, m.marks[who])
					require.Equal(t, gen, mark.Gen)
				}
			},
			"": func(t *rapid.T) {
				require.GreaterOrEqual(t, j.Bytes(), int64(len(m.messages)), "more than nothing for each")
				require.Zero(t, j.Dropped())
				for _, g := range groups {
					for gen := range int64(5) {
						require.Equal(t, gen < m.open[modelPartitions.Of(g)], j.Over(g, gen))
					}
				}
			},
		})
		for p := range int(modelPartitions) {
			u, err := j.All(p)
			take(t, p, 100, u, err)
			taken[len(taken)-1]()
		}
		require.Empty(t, m.messages)
		require.Zero(t, j.Bytes())
	})
}

// A bounded journal never holds more than its bytes, and what it dropped is counted.
func TestTheBytesOfAJournalAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(0, 3000).Draw(t, "limit")
		j := domain.NewJournal(1, limit)
		kept, forgotten := 0, 0
		t.Repeat(map[string]func(*rapid.T){
			"keep": func(t *rapid.T) {
				g, seq := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "group"), rapid.Int64Range(1, 1000).Draw(t, "seq")
				before, err := j.All(0)
				require.NoError(t, err)
				if slices.ContainsFunc(before.Messages, func(m domain.Message) bool { return m.Group == g && m.Seq == seq }) {
					t.Skip("there already")
				}
				require.True(t, keptMessage(g, 1, seq).send(j))
				kept++
			},
			"committed": func(t *rapid.T) {
				before, err := j.All(0)
				require.NoError(t, err)
				j.Committed(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "group"), 1, rapid.Int64Range(1, 1000).Draw(t, "seq"))
				after, err := j.All(0)
				require.NoError(t, err)
				forgotten += len(before.Messages) - len(after.Messages)
			},
			"": func(t *rapid.T) {
				u, err := j.All(0)
				require.NoError(t, err)
				require.LessOrEqual(t, j.Bytes(), limit)
				require.Equal(t, kept, forgotten+len(u.Messages)+int(j.Dropped()))
			},
		})
		j.Committed("a", 1, 1000)
		j.Committed("b", 1, 1000)
		require.Zero(t, j.Bytes())
	})
}

// After Close nothing older is believed, and everything that was believed before is in its answer or was committed.
func TestCloseSeesEverythingThatWasKept(t *testing.T) {
	t.Parallel()
	for range 20 {
		j := domain.NewJournal(1, plenty)
		const senders, each = 4, 300
		var work sync.WaitGroup
		believed := make([]map[place]bool, senders)
		closed := make(chan struct{})
		for n := range senders {
			believed[n] = make(map[place]bool)
			work.Go(func() {
				group := fmt.Sprint("g", n%2) // two at a time on each
				for i := range int64(each) {
					k := keptMessage(group, 1, i*senders+int64(n)+1)
					var over bool
					select {
					case <-closed:
						over = true
					default:
					}
					if k.send(j) {
						if over {
							t.Errorf("%s/%d is believed after Close", k.Group, k.Seq)
						}
						believed[n][place{k.Group, k.Seq}] = true
					}
				}
			})
		}
		committed := make(map[string]int64)
		work.Go(func() {
			for range 50 {
				group, seq := fmt.Sprint("g", rand.IntN(2)), rand.Int64N(senders*each/2)
				committed[group] = max(committed[group], seq)
				j.Committed(group, 1, seq)
				j.Lingering(0, 1)
				j.Bytes()
			}
		})
		u, err := j.Close(0, 2)
		close(closed)
		require.NoError(t, err)
		work.Wait()
		answered := make(map[place]bool)
		for _, m := range u.Messages {
			answered[place{m.Group, m.Seq}] = true
		}
		for _, list := range believed {
			for at := range list {
				if !answered[at] && at.seq > committed[at.group] {
					t.Fatalf("%s/%d was believed, and is neither committed nor in the answer of Close", at.group, at.seq)
				}
			}
		}
		j.Written(0, u)
		require.Zero(t, j.Bytes())
	}
}

// BenchmarkJournal is what a message costs an instance that accepts it: kept, then committed with others.
func BenchmarkJournal(b *testing.B) {
	for name, limit := range map[string]int64{"committed": 64 << 20, "full": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			j := domain.NewJournal(16, limit)
			k := keptMessage("g", 1, 1)
			header := k.Header.AppendJSON(nil)
			b.ReportAllocs()
			seq := int64(0)
			for b.Loop() {
				seq++
				j.KeepSend(domain.Accepted{Group: "g", Gen: 1, Seq: seq, TimeMS: 1, PersistedSeq: max(0, seq-100)}, header, k.Body)
				if seq%100 == 0 && name == "committed" {
					j.Committed("g", 1, seq)
				}
			}
		})
	}
}

func TestJournalOfRecalls(t *testing.T) {
	t.Parallel()
	j := domain.NewJournal(1, 8*192) // a fourth is for recalls
	of := func(gen, seq int64) domain.Recall {
		return domain.Recall{Group: "g", Seq: seq, Gen: gen, TimeMS: 5, By: "ann"}
	}
	for range 2 {
		require.True(t, j.KeepRecall(of(1, 1)))
	}
	require.True(t, j.KeepRecall(of(2, 2)))
	require.Zero(t, j.Dropped())
	require.True(t, j.KeepRecall(of(2, 3)))
	require.EqualValues(t, 1, j.Dropped(), "there is no room")
	require.EqualValues(t, 2*192, j.Bytes())
	closed, err := j.Close(0, 2)
	require.NoError(t, err)
	require.Equal(t, []domain.Recall{of(1, 1)}, closed.Recalls)
	require.False(t, j.KeepRecall(of(1, 4)), "the generation is closed")
	require.Equal(t, []domain.Recall{of(2, 2)}, j.LingeringRecalls(0, 2))
	j.Written(0, closed)
	require.EqualValues(t, 192, j.Bytes())
	require.True(t, j.KeepRecall(of(2, 3)))
	require.EqualValues(t, 1, j.Dropped())
}
