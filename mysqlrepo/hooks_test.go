package mysqlrepo

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"hearth/domain"
)

// onEachWithHooks is onEach with webhooks to tell.
func onEachWithHooks(t *testing.T, test func(t *testing.T, db *DB)) {
	onEach(t, func(t *testing.T, db *DB) {
		db.hooks = true
		test(t, db)
	})
}

func untold(t testing.TB, db *DB, group string) (told int64, seqs string) {
	t.Helper()
	u, err := db.UntoldMessages(t.Context(), group, 100)
	require.NoError(t, err)
	for _, m := range u.Messages {
		seqs += fmt.Sprint(m.Seq, " ")
	}
	return u.Told, strings.TrimSpace(seqs)
}

// outbox lists the rows of a group as "event from-to data".
func outbox(t testing.TB, db *DB, group string) (rows []string) {
	t.Helper()
	list, err := db.OutboxRows(t.Context(), group, 100)
	require.NoError(t, err)
	for _, r := range list {
		rows = append(rows, fmt.Sprintf("%s %d-%d %s", r.Event, r.From, r.To, r.Data))
	}
	return rows
}

func untoldGroups(t testing.TB, db *DB, after string, limit int) []string {
	t.Helper()
	groups, err := db.UntoldGroups(t.Context(), allPartitions, after, limit)
	require.NoError(t, err)
	return groups
}

func TestMessagesAreToldOnce(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("g"))
		insert(t, db, messages("g", 1, 3, gen)...)
		require.Equal(t, []string{"g"}, untoldGroups(t, db, "", 10))
		at, seqs := untold(t, db, "g")
		require.Zero(t, at)
		require.Equal(t, "1 2 3", seqs)
		require.NoError(t, db.ToldMessages(t.Context(), "g", 2, nil))
		require.NoError(t, db.ToldMessages(t.Context(), "g", 1, nil)) // of an instance that is behind
		_, seqs = untold(t, db, "g")
		require.Equal(t, "3", seqs)
		require.NoError(t, db.ToldMessages(t.Context(), "g", 3, nil))
		require.Empty(t, untoldGroups(t, db, "", 10))

		insert(t, db, messages("g", 1, 4, gen)...) // a batch that comes again, with one message more
		at, seqs = untold(t, db, "g")
		require.Equal(t, int64(3), at)
		require.Equal(t, "4", seqs)
		require.Empty(t, outbox(t, db, "g"))
	})
}

func TestWhatIsToldIsTheMessage(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		m := full("g", 5, raise(t, db, db.partitions.Of("g")))
		m.RecalledMS, m.RecalledBy = 0, ""
		insert(t, db, m)
		u, err := db.UntoldMessages(t.Context(), "g", 10)
		require.NoError(t, err)
		require.Len(t, u.Messages, 1)
		record := m.Record()
		hook := u.Messages[0].Hook()
		require.JSONEq(t, string(record.AppendJSON(nil)), string(hook.Data))
		require.Equal(t, m.TimeMS, hook.TimeMS)
		require.NotZero(t, u.Messages[0].StoredMS)
		require.NotContains(t, hook.ID, ".")
	})
}

func TestWithoutWebhooksNothingIsQueued(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "g", "ann")
		insert(t, db, messages("g", 1, 3, raise(t, db, db.partitions.Of("g")))...)
		require.Empty(t, untoldGroups(t, db, "", 10))
	})
}

// Another instance's journal may bring a later message first.
func TestAGapIsToldApartFromAHole(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("g"))
		insert(t, db, messages("g", 1, 2, gen)...)
		insert(t, db, message("g", 5, gen))
		addHole(t, db, "g", domain.Hole{From: 3, To: 3, Reason: domain.HoleLost})
		u, err := db.UntoldMessages(t.Context(), "g", 100)
		require.NoError(t, err)
		require.Equal(t, domain.Holes{{From: 3, To: 3, Reason: domain.HoleLost}}, u.Holes)
		insert(t, db, message("g", 4, gen))
		_, seqs := untold(t, db, "g")
		require.Equal(t, "1 2 4 5", seqs)
	})
}

func TestMessagesBelowWhatWasToldHaveRowsOfTheirOwn(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("g"))
		insert(t, db, messages("g", 3, 4, gen)...)
		insert(t, db, message("g", 9, gen))
		require.NoError(t, db.ToldMessages(t.Context(), "g", 9, nil))
		for range 2 {
			insert(t, db, messages("g", 1, 10, gen)...)
			require.Equal(t, []string{"after_send 1-2 ", "after_send 5-8 "}, outbox(t, db, "g"))
		}
		_, seqs := untold(t, db, "g")
		require.Equal(t, "10", seqs)
	})
}

func TestLateMessagesAreTold(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("g"))
		insert(t, db, messages("g", 1, 2, gen)...)
		addHole(t, db, "g", domain.Hole{From: 3, To: 5, Reason: domain.HoleLost})
		insert(t, db, message("g", 6, gen))
		require.NoError(t, db.ToldMessages(t.Context(), "g", 6, nil))
		for range 2 {
			_, err := db.InsertLate(t.Context(), messages("g", 2, 4, gen))
			require.NoError(t, err)
		}
		require.Equal(t, []string{"after_send 3-4 "}, outbox(t, db, "g"))
		list, err := db.MessagesToTell(t.Context(), "g", 3, 4, 10)
		require.NoError(t, err)
		require.Len(t, list, 2)
	})
}

func TestARetriedDeadLetterIsTold(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		insert(t, db, messages("room", 1, 4, gen)...)
		refuse(t, db, "evil")
		putAside(t, db, full("room", 5, gen))
		insert(t, db, message("room", 6, gen))
		require.NoError(t, db.ToldMessages(t.Context(), "room", 6, nil))
		accept(t, db)
		_, _, err := db.RetryDeadLetter(t.Context(), "room", 5)
		require.NoError(t, err)
		require.Equal(t, []string{"after_send 5-5 "}, outbox(t, db, "room"))
	})
}

func TestAFencedBatchQueuesNothing(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		old := raise(t, db, db.partitions.Of("g"))
		raise(t, db, db.partitions.Of("g"))
		require.ErrorIs(t, tryInsert(db, messages("g", 1, 3, old)...), ErrFenced)
		require.Empty(t, untoldGroups(t, db, "", 10))
	})
}

func TestChangesAreQueuedInTheOrderOfTheirVersions(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		tell := func(change, user string) domain.Tell {
			return func(c *domain.GroupChange) {
				c.Events = []domain.GroupEvent{{Group: c.ID, Change: change, User: user, By: "key"}}
			}
		}
		g := domain.Group{ID: "g", Type: domain.Private, Name: "é", Join: domain.JoinInvite, Owner: "ann", CreatedMS: 7}
		_, err := db.Create(t.Context(), g, nil, tell(domain.ChangeCreated, ""))
		require.NoError(t, err)
		require.Equal(t, []string{`group_changed 0-0 {"group":"g","change":"created","by":"key","type":"group","name":"é","avatar":"","join":"invite",` +
			`"owner":"ann","muted":false,"member_limit":100000,"member_count":1,"created_ms":7}`}, outbox(t, db, "g"))
		var wait sync.WaitGroup
		for i := range 10 {
			wait.Go(func() {
				user := fmt.Sprint("u", i)
				_, err := db.AddMembers(t.Context(), "g", []string{user}, 0, func(c *domain.GroupChange) {
					tell(fmt.Sprint("version ", c.Version), user)(c)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		rows := outbox(t, db, "g")
		require.Len(t, rows, 11)
		for i, row := range rows[1:] {
			require.Contains(t, row, fmt.Sprintf(`member_changed 0-0 {"group":"g","change":"version %d","user":"u`, i+2))
		}
		require.Equal(t, []string{"g"}, untoldGroups(t, db, "", 10))
	})
}

func TestAChangeIsQueuedBehindWhatIsStored(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		create(t, db, "g", "ann")
		insert(t, db, messages("g", 1, 5, raise(t, db, db.partitions.Of("g")))...)
		_, err := db.AddMembers(t.Context(), "g", []string{"ben"}, 0, func(c *domain.GroupChange) {
			c.Events = []domain.GroupEvent{{Group: "g", Change: domain.ChangeJoined, User: "ben"}}
		})
		require.NoError(t, err)
		rows := outbox(t, db, "g")
		require.Equal(t, `member_changed 0-5 {"group":"g","change":"joined","user":"ben"}`, rows[len(rows)-1])
	})
}

func TestARecallIsQueuedOnce(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("g"))
		list := messages("g", 1, 5, gen)
		insert(t, db, list[:4]...)
		recall := domain.Recall{Group: "g", Seq: 3, By: "ann", TimeMS: 17}
		for range 2 {
			require.NoError(t, db.RecallMessages(t.Context(), []domain.Recall{recall}))
		}
		require.Equal(t, []string{`recalled 3-3 {"group":"g","seq":3,"by":"ann","time_ms":17}`}, outbox(t, db, "g"))
		early := domain.Recall{Group: "g", Seq: 5, By: "key", TimeMS: 18}
		early.ApplyTo(&list[4])
		for range 2 { // recalled before it was stored, and stored twice
			insert(t, db, list[4])
		}
		require.NoError(t, db.RecallMessages(t.Context(), []domain.Recall{early, {Group: "g", Seq: 9, By: "key", TimeMS: 19}}))
		require.Equal(t, `recalled 5-5 {"group":"g","seq":5,"by":"key","time_ms":18}`, outbox(t, db, "g")[1])
		require.NoError(t, db.RecallMessages(t.Context(), []domain.Recall{{Group: "g", Seq: 1, By: "ann", TimeMS: 22}, {Group: "g", Seq: 2, By: "ann", TimeMS: 21}}))
		require.Len(t, outbox(t, db, "g"), 4)
		require.Contains(t, outbox(t, db, "g")[2], `"seq":2`, "as they happened")
		db.hooks = false
		require.NoError(t, db.RecallMessages(t.Context(), []domain.Recall{{Group: "g", Seq: 4, By: "ann", TimeMS: 20}}))
		require.Len(t, outbox(t, db, "g"), 4)
	})
}

func TestRecallsOfOneMomentAreQueuedInTheirOrder(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		insert(t, db, messages("g", 1, 3, raise(t, db, db.partitions.Of("g")))...)
		var recalls []domain.Recall
		for _, seq := range []int64{3, 1, 2} {
			recalls = append(recalls, domain.Recall{Group: "g", Seq: seq, By: "ann", TimeMS: 17})
		}
		require.NoError(t, db.RecallMessages(t.Context(), recalls))
		rows, err := db.OutboxRows(t.Context(), "g", 9)
		require.NoError(t, err)
		require.Len(t, rows, 3)
		require.Equal(t, []int64{3, 1, 2}, []int64{rows[0].From, rows[1].From, rows[2].From})
	})
}

func TestRowsThatWereToldGo(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("g"))
		insert(t, db, messages("g", 1, 9, gen)...)
		n, err := db.ReplayHooks(t.Context(), "g", 4, 1000)
		require.NoError(t, err)
		require.Equal(t, int64(6), n)
		rows, err := db.OutboxRows(t.Context(), "g", 10)
		require.NoError(t, err)
		require.NoError(t, db.ToldPart(t.Context(), rows[0].ID, 7))
		require.NoError(t, db.ToldPart(t.Context(), rows[0].ID, 5)) // of an instance that is behind
		require.Equal(t, []string{"after_send 7-9 "}, outbox(t, db, "g"))
		require.NoError(t, db.ToldRows(t.Context(), []int64{rows[0].ID}))
		require.Empty(t, outbox(t, db, "g"))
		n, err = db.ReplayHooks(t.Context(), "g", 10, 1000)
		require.NoError(t, err)
		require.Zero(t, n)
		require.Empty(t, outbox(t, db, "g"))
	})
}

func TestWhatIsGivenUpIsListedAndRetried(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		gen := raise(t, db, db.partitions.Of("g"))
		insert(t, db, messages("g", 1, 9, gen)...)
		require.NoError(t, db.ToldMessages(ctx, "g", 1, nil))
		require.NoError(t, db.GiveUpMessages(ctx, "g", 2, 3, 17, "status 500"))
		require.NoError(t, db.GiveUpMessages(ctx, "g", 4, 6, 17, "status 500"))
		require.NoError(t, db.GiveUpMessages(ctx, "g", 4, 6, 17, "status 500")) // of an instance that is behind
		require.NoError(t, db.GiveUpMessages(ctx, "g", 7, 7, 17, "status 410"))
		require.NoError(t, db.tx(ctx, func(tx *sql.Tx) error {
			return db.queueRecalled(ctx, tx, []domain.Recall{{Group: "h", Seq: 3, By: "ann", TimeMS: 17}})
		}))
		rows, err := db.OutboxRows(ctx, "h", 10)
		require.NoError(t, err)
		require.NoError(t, db.GiveUpRow(ctx, rows[0].ID, "status 500"))

		at, seqs := untold(t, db, "g")
		require.Equal(t, int64(7), at)
		require.Equal(t, "8 9", seqs)
		require.Equal(t, []string{"g"}, untoldGroups(t, db, "", 10))
		dead := func(group string, after int64) (list []string, ids []int64) {
			rows, err := db.DeadHooks(ctx, group, after, 10)
			require.NoError(t, err)
			for _, r := range rows {
				require.NotZero(t, r.DeadMS)
				list, ids = append(list, fmt.Sprintf("%s %s %d-%d %s", r.Group, r.Event, r.From, r.To, r.Reason)), append(ids, r.ID)
			}
			return list, ids
		}
		all := []string{"g after_send 2-6 status 500", "g after_send 7-7 status 410", "h recalled 3-3 status 500"}
		list, ids := dead("", 0)
		require.Equal(t, all, list)
		list, _ = dead("", ids[0])
		require.Equal(t, all[1:], list)
		list, _ = dead("h", 0)
		require.Equal(t, all[2:], list)
		untoldCount, deadCount, err := db.HookBacklog(ctx)
		require.NoError(t, err)
		require.Equal(t, [2]int64{2, 3}, [2]int64{untoldCount, deadCount})

		n, err := db.RetryHooks(ctx, "g")
		require.NoError(t, err)
		require.Equal(t, int64(2), n)
		require.Equal(t, []string{"after_send 2-6 ", "after_send 7-7 "}, outbox(t, db, "g"))
		n, err = db.RetryHooks(ctx, "")
		require.NoError(t, err)
		require.Equal(t, int64(1), n)
		require.Equal(t, []string{"g", "h"}, untoldGroups(t, db, "", 10))
	})
}

func TestUntoldGroupsAreListedInPages(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		for _, g := range []string{"a", "b", "c", "d"} {
			insert(t, db, messages(g, 1, 2, raise(t, db, db.partitions.Of(g)))...)
		}
		create(t, db, "quiet", "ann")
		require.NoError(t, db.ToldMessages(t.Context(), "b", 2, nil))
		_, err := db.ReplayHooks(t.Context(), "c", 1, 2)
		require.NoError(t, err)
		require.Equal(t, []string{"a", "c"}, untoldGroups(t, db, "", 2))
		require.Equal(t, []string{"d"}, untoldGroups(t, db, "c", 2))
		groups, err := db.UntoldGroups(t.Context(), []int{db.partitions.Of("a")}, "", 10)
		require.NoError(t, err)
		for _, g := range groups {
			require.Equal(t, db.partitions.Of("a"), db.partitions.Of(g))
		}
		require.Contains(t, groups, "a")
	})
}

// Senders of overlapping batches and whoever tells lock the same rows.
func TestQueueingAndTellingInterleave(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gens := make([]int64, 4)
		for p := range gens {
			gens[p] = raise(t, db, p)
		}
		groups := []string{"a", "b", "c", "d", "e", "f"}
		batch := func(from int64) (msgs []domain.Message) {
			for _, g := range groups {
				msgs = append(msgs, messages(g, from, from+19, gens[db.partitions.Of(g)])...)
			}
			return msgs
		}
		var writers, tellers sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				for from := int64(1); from <= 200; from += 10 {
					if err := tryInsert(db, batch(from)...); err != nil {
						t.Error(err)
					}
				}
			})
		}
		done := make(chan struct{})
		var mu sync.Mutex
		told := make(map[string]int64)
		for range 2 {
			tellers.Go(func() {
				for last := false; ; {
					for _, g := range groups {
						u, err := db.UntoldMessages(t.Context(), g, 7)
						if err != nil {
							t.Error(err)
							return
						}
						for _, m := range u.Messages {
							mu.Lock()
							if m.Seq > told[g]+1 {
								t.Errorf("%s: %d was told behind %d", g, m.Seq, told[g])
							}
							told[g] = max(told[g], m.Seq)
							mu.Unlock()
							if err := db.ToldMessages(t.Context(), g, m.Seq, nil); err != nil {
								t.Error(err)
							}
						}
					}
					if last && len(untoldGroups(t, db, "", 10)) == 0 {
						return
					}
					select {
					case <-done:
						last = true
					default:
					}
				}
			})
		}
		writers.Wait()
		close(done)
		tellers.Wait()
		for _, g := range groups {
			require.Equal(t, int64(210), told[g], g)
			require.Empty(t, outbox(t, db, g))
		}
	})
}

// What comes late may come between the reading and the telling of what is behind it.
func TestLateMessagesAreToldThatComeWhileTheirHoleIsPassed(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("g"))
		insert(t, db, messages("g", 1, 2, gen)...)
		addHole(t, db, "g", domain.Hole{From: 3, To: 7, Reason: domain.HoleLost})
		insert(t, db, message("g", 8, gen))
		_, seqs := untold(t, db, "g")
		require.Equal(t, "1 2 8", seqs)
		late := append(messages("g", 3, 4, gen), message("g", 6, gen))
		_, err := db.InsertLate(t.Context(), late)
		require.NoError(t, err)
		require.NoError(t, db.ToldMessages(t.Context(), "g", 8, domain.Holes{{From: 3, To: 7}}))
		require.Equal(t, []string{"after_send 3-4 ", "after_send 6-6 "}, outbox(t, db, "g"))
	})
}

func TestMessagesOfARowAreGivenUpOneByOne(t *testing.T) {
	onEachWithHooks(t, func(t *testing.T, db *DB) {
		ctx := t.Context()
		insert(t, db, messages("g", 1, 5, raise(t, db, db.partitions.Of("g")))...)
		_, err := db.ReplayHooks(ctx, "g", 1, 5)
		require.NoError(t, err)
		rows, err := db.OutboxRows(ctx, "g", 10)
		require.NoError(t, err)
		require.Len(t, rows, 1)
		for _, seq := range []int64{2, 2, 3, 5, 4} { // the second and the last of an instance that is behind
			require.NoError(t, db.GiveUpPart(ctx, rows[0], seq, "status 410"))
		}
		require.Equal(t, []string{"after_send 6-5 "}, outbox(t, db, "g"))
		dead, err := db.DeadHooks(ctx, "g", 0, 10)
		require.NoError(t, err)
		var runs []string
		for _, r := range dead {
			runs = append(runs, fmt.Sprintf("%d-%d %s", r.From, r.To, r.Reason))
		}
		require.Equal(t, []string{"2-3 status 410", "5-5 status 410"}, runs)
	})
}
