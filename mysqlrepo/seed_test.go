package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hearth/domain"
)

func seedOne(t testing.TB, db *DB, gen int64, group string) domain.Seed {
	t.Helper()
	seeds, err := db.Seed(context.Background(), db.partitions.Of(group), gen, []string{group})
	if err != nil {
		t.Fatal(err)
	}
	return seeds[group]
}

func TestGroupOfThisGenerationStartsAtZero(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		p := db.partitions.Of("room")
		gen := raise(t, db, p)
		create(t, db, "room")
		for range 2 {
			if diff := cmp.Diff(domain.Seed{}, seedOne(t, db, gen, "room")); diff != "" {
				t.Errorf("seed (-want +got):\n%s", diff)
			}
		}
		gen = raise(t, db, p) // nothing was ever written, yet 1 may have been given out
		want := domain.Seed{Start: 50, Holes: domain.Holes{{From: 1, To: 50, Reason: domain.HoleLost}}}
		if diff := cmp.Diff(want, seedOne(t, db, gen, "room")); diff != "" {
			t.Errorf("seed in the next generation (-want +got):\n%s", diff)
		}
	})
}

func TestGroupWithoutARowStartsAboveZero(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		create(t, db, "early") // before there was any generation
		for _, group := range []string{"early", "dm:a:b"} {
			if got := seedOne(t, db, raise(t, db, db.partitions.Of(group)), group); got.Start != 50 {
				t.Errorf("start of %s: got %d, want 50", group, got.Start)
			}
		}
	})
}

func TestSeedRecordsWhatIsMissing(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		p := db.partitions.Of("room")
		gen := raise(t, db, p)
		create(t, db, "room")
		seedOne(t, db, gen, "room")
		insert(t, db, append(messages("room", 1, 10, gen), messages("room", 13, 20, gen)...)...)
		gen = raise(t, db, p)
		want := domain.Seed{Start: 70, LastMS: message("room", 20, 0).TimeMS, Holes: domain.Holes{
			{From: 11, To: 12, Reason: domain.HoleLost}, {From: 21, To: 70, Reason: domain.HoleLost},
		}}
		if diff := cmp.Diff(want, seedOne(t, db, gen, "room")); diff != "" {
			t.Errorf("seed (-want +got):\n%s", diff)
		}
		execSQL(t, db, "DELETE FROM group_msg WHERE msg_seq<=10")
		execSQL(t, db, "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES ('room', 1, 10, 'expired')")
		insert(t, db, messages("room", 71, 75, gen)...)
		gen = raise(t, db, p)
		want = domain.Seed{Start: 125, LastMS: message("room", 75, 0).TimeMS, Holes: domain.Holes{
			{From: 1, To: 10, Reason: domain.HoleExpired},
			{From: 11, To: 12, Reason: domain.HoleLost},
			{From: 21, To: 70, Reason: domain.HoleLost},
			{From: 76, To: 125, Reason: domain.HoleLost},
		}}
		if diff := cmp.Diff(want, seedOne(t, db, gen, "room")); diff != "" {
			t.Errorf("seed of the next generation (-want +got):\n%s", diff)
		}
		floors, err := db.Floors(t.Context(), []string{"room", "never"})
		if err != nil {
			t.Fatal(err)
		}
		wantFloors := map[string]domain.Floor{"never": {}, "room": {MaxSeq: 125, LastMS: want.LastMS, Holes: want.Holes}}
		if diff := cmp.Diff(wantFloors, floors); diff != "" {
			t.Errorf("floors (-want +got):\n%s", diff)
		}
	})
}

func TestHolesThatTouchAreReadAsOne(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := int64(0)
		for range 3 {
			gen = raise(t, db, db.partitions.Of("room"))
			seedOne(t, db, gen, "room")
		}
		got, err := db.Holes(t.Context(), "room")
		want := domain.Holes{{From: 1, To: 150, Reason: domain.HoleLost}}
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("holes (-want +got): %v\n%s", err, diff)
		}
	})
}

func TestSeedNeedsTheSettledGeneration(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		p := db.partitions.Of("room")
		ask := func(gen int64) error {
			_, err := db.Seed(t.Context(), p, gen, []string{"room"})
			return err
		}
		if err := ask(1); !errors.Is(err, ErrGeneration) {
			t.Errorf("no generation: got %v, want ErrGeneration", err)
		}
		old := raise(t, db, p)
		next, err := db.Renew(t.Context(), p, observed("another server"))
		if err != nil {
			t.Fatal(err)
		}
		for name, gen := range map[string]int64{"overtaken": old, "not settled": next.Gen, "unknown": next.Gen + 1} {
			if err := ask(gen); !errors.Is(err, ErrGeneration) {
				t.Errorf("%s: got %v, want ErrGeneration", name, err)
			}
		}
		if err := db.Settle(t.Context(), p, next.Gen); err != nil {
			t.Fatal(err)
		}
		if err := ask(next.Gen); err != nil {
			t.Errorf("settled: %v", err)
		}
		if _, err := db.Seed(t.Context(), (p+1)%4, next.Gen, []string{"room"}); err == nil {
			t.Error("group of another partition: got nil, want an error")
		}
	})
}

func TestConcurrentSeedsAgree(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		var groups []string
		for i := 0; len(groups) < 130; i++ {
			if g := fmt.Sprint("room", i); db.partitions.Of(g) == 0 {
				groups = append(groups, g)
			}
		}
		gen := raise(t, db, 0)
		for _, g := range groups[:20] {
			insert(t, db, message(g, 1, gen), message(g, 5, gen))
		}
		gen = raise(t, db, 0)
		const askers = 6
		var answers [askers]map[string]domain.Seed
		var wg sync.WaitGroup
		for i := range askers {
			wg.Go(func() {
				var mine []string
				for _, j := range rand.Perm(len(groups)) {
					mine = append(mine, groups[j])
				}
				var err error
				if answers[i], err = db.Seed(t.Context(), 0, gen, mine); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range askers {
			if diff := cmp.Diff(answers[0], answers[i]); diff != "" {
				t.Fatalf("answer %d differs from the first (-first +other):\n%s", i, diff)
			}
		}
		want := domain.Seed{Start: 55, LastMS: message("", 5, 0).TimeMS, Holes: domain.Holes{
			{From: 2, To: 4, Reason: domain.HoleLost}, {From: 6, To: 55, Reason: domain.HoleLost},
		}}
		if diff := cmp.Diff(want, answers[0][groups[0]]); diff != "" {
			t.Errorf("seed of %s (-want +got):\n%s", groups[0], diff)
		}
	})
}

// Whatever rows, lost batches, refused rows and retention leave behind, in every generation each seq up to the
// start is either a row or in one hole, and starts only grow.
func TestEverySeqUpToASeedIsOneRowOrOneHole(t *testing.T) {
	var groups atomic.Int64
	onEach(t, func(t *testing.T, db *DB) {
		rapid.Check(t, func(r *rapid.T) {
			group := fmt.Sprint("group", groups.Add(1))
			p := db.partitions.Of(group)
			last := int64(0)
			if rapid.Bool().Draw(r, "created in the first generation") {
				raise(t, db, p)
				create(t, db, group)
			}
			for range rapid.IntRange(1, 4).Draw(r, "generations") {
				gen := raise(t, db, p)
				seed := seedOne(t, db, gen, group)
				if seed.Start < last || seed.Start == last && last > 0 {
					r.Fatalf("start of generation %d: got %d, want more than %d", gen, seed.Start, last)
				}
				checkAccounted(r, db, group, seed)
				last = seed.Start
				var msgs []domain.Message
				for i := range rapid.Int64Range(0, 12).Draw(r, "appends") {
					switch rapid.IntRange(0, 5).Draw(r, "fate") {
					case 0: // lost with Redis
					case 1: // refused by MySQL
						execSQL(t, db, "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES (?, ?, ?, 'lost')",
							group, seed.Start+1+i, seed.Start+1+i)
						last = max(last, seed.Start+1+i)
					default:
						msgs = append(msgs, message(group, seed.Start+1+i, gen))
						last = max(last, seed.Start+1+i)
					}
				}
				insert(t, db, msgs...)
				if rapid.Bool().Draw(r, "retention") {
					expireIn(t, db, group, rapid.Int64Range(1, last+1).Draw(r, "up to"), timeOf(1<<30), 1000)
				}
			}
		})
	})
}

func checkAccounted(r *rapid.T, db *DB, group string, seed domain.Seed) {
	covered := make(map[int64]int)
	records, err := db.Messages(context.Background(), domain.Range{Group: group, From: 1, To: 1 << 53, Limit: 1 << 30})
	if err != nil {
		r.Fatal(err)
	}
	for _, m := range records {
		covered[m.Seq]++
	}
	for _, h := range seed.Holes {
		for seq := h.From; seq <= h.To; seq++ {
			covered[seq]++
		}
	}
	for seq := int64(1); seq <= seed.Start; seq++ {
		if covered[seq] != 1 {
			r.Fatalf("seq %d of %s is covered %d times, want once; start %d, holes %v", seq, group, covered[seq], seed.Start, seed.Holes)
		}
	}
	if int64(len(covered)) > seed.Start {
		r.Fatalf("%d seqs are covered, want none above %d", len(covered), seed.Start)
	}
}

// What a side of a direct conversation wrote itself counts, wherever its rows lie; what app servers wrote does not.
func TestSeedCountsWhatBothSidesWrote(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		const ab, cd, ef, quiet = "dm:ann:bob", "dm:cleo:dora", "dm:eve:fay", "dm:gil:hal"
		write := func(group, from string, n int, operator string, firstSeq, gen int64) {
			var msgs []domain.Message
			for i := range int64(n) {
				m := message(group, firstSeq+i, gen)
				m.GroupType, m.From, m.Operator = domain.Direct, from, operator
				msgs = append(msgs, m)
			}
			insert(t, db, msgs...)
		}
		for _, g := range []string{ab, cd, ef, quiet, "room"} {
			gen := raise(t, db, db.partitions.Of(g))
			switch g {
			case ab:
				write(ab, "ann", 2, "", 1, gen)
				write(ab, "bob", 4, "key", 3, gen)
				write(ab, domain.SystemUser, 1, "key", 7, gen)
				write(ab, "ann", 1, "", 8, gen)
			case cd:
				write(cd, "cleo", domain.MaxStrangerLimit+5, "", 1, gen)
				write(cd, "dora", 1, "", 2000, gen)
			case ef:
				write(ef, "fay", domain.MaxStrangerLimit+5, "", 1, gen)
				read := map[domain.GroupUser]int64{{Group: ef, User: "eve"}: domain.MaxStrangerLimit}
				if err := db.SaveReadMarks(t.Context(), read); err != nil {
					t.Fatal(err)
				}
			case "room":
				write("room", "ann", 3, "", 1, gen)
			}
		}
		for group, want := range map[string][2]int64{
			ab: {3, 0}, cd: {1, 1}, ef: {0, domain.MaxStrangerLimit}, quiet: {}, "room": {},
		} {
			gen := raise(t, db, db.partitions.Of(group))
			if got := seedOne(t, db, gen, group).Sent; got != want {
				t.Errorf("%s: got %v messages of either side, want %v", group, got, want)
			}
			if again := seedOne(t, db, gen, group).Sent; again != want {
				t.Errorf("%s, asked again: got %v messages of either side, want %v", group, again, want)
			}
		}
	})
}

// How long a conversation is does not matter, be it answered or never read; of one that is read and not answered, what
// was read does.
func TestSeedCountsWithoutWalkingTheConversation(t *testing.T) {
	t.Parallel()
	db := openEmpty(t, "mysql")
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const answered, unread, halfRead, many = "dm:ann:bob", "dm:cleo:dora", "dm:eve:fay", 3000
	for group, higherFrom := range map[string]int64{answered: 4, unread: many + 1, halfRead: many + 1} {
		gen := raise(t, db, db.partitions.Of(group))
		lower, higher, _ := domain.SplitDirect(group)
		msgs := messages(group, 1, many, gen)
		for i := range msgs {
			if msgs[i].From = lower; msgs[i].Seq == higherFrom {
				msgs[i].From = higher
			}
		}
		insert(t, db, msgs...)
	}
	if err := db.SaveReadMarks(t.Context(), map[domain.GroupUser]int64{{Group: halfRead, User: "fay"}: many / 10}); err != nil {
		t.Fatal(err)
	}
	conn, err := db.sql.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for group, c := range map[string]struct {
		sent [2]int64
		rows int64 // read at most
	}{
		answered: {[2]int64{1, 1}, 20},
		unread:   {[2]int64{domain.MaxStrangerLimit, 0}, domain.MaxStrangerLimit + 20},
		halfRead: {[2]int64{domain.MaxStrangerLimit, 0}, many/10 + domain.MaxStrangerLimit + 20},
	} {
		lower, higher, _ := domain.SplitDirect(group)
		sides := []domain.GroupUser{{Group: group, User: lower}, {Group: group, User: higher}}
		marks, err := db.ReadMarks(t.Context(), sides)
		if err != nil {
			t.Fatal(err)
		}
		before := rowsRead(t, conn)
		sent, err := sentIn(t.Context(), conn, sides, marks, [2]int64{})
		if err != nil || sent != c.sent {
			t.Errorf("%s: got %v (%v), want %v", group, sent, err, c.sent)
		}
		if read := rowsRead(t, conn) - before; read > c.rows {
			t.Errorf("%s: %d rows were read, want %d at most", group, read, c.rows)
		}
	}
}

// rowsRead is how many rows of tables the session has read so far, but for those of the question itself.
func rowsRead(t *testing.T, conn *sql.Conn) (rows int64) {
	t.Helper()
	err := each(t.Context(), conn, "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_next', 'Handler_read_key', 'Handler_read_first')", nil,
		func(found *sql.Rows) error {
			var name string
			var n int64
			err := found.Scan(&name, &n)
			rows += n
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
