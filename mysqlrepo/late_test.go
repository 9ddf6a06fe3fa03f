package mysqlrepo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hearth/domain"
)

// insertLateTx is insertLate in a transaction of its own.
func insertLateTx(db *DB, msgs ...domain.Message) (filled map[string]int64, err error) {
	list := make([]*domain.Message, len(msgs))
	for i := range msgs {
		list[i] = &msgs[i]
	}
	err = db.tx(context.Background(), func(tx *sql.Tx) error {
		filled, err = db.insertLate(context.Background(), tx, list)
		return err
	})
	return filled, err
}

func addHole(t testing.TB, db *DB, group string, h domain.Hole) {
	t.Helper()
	execSQL(t, db, "INSERT INTO seq_hole (group_id, from_seq, to_seq, reason) VALUES (?,?,?,?)", group, h.From, h.To, h.Reason)
}

// holeRows are the holes of a group as they are stored.
func holeRows(t testing.TB, db *DB, group string) string {
	t.Helper()
	var list []string
	err := each(context.Background(), db.sql, "SELECT from_seq, to_seq, reason FROM seq_hole WHERE group_id=? ORDER BY from_seq", []any{group},
		func(rows *sql.Rows) error {
			var h domain.Hole
			err := rows.Scan(&h.From, &h.To, &h.Reason)
			list = append(list, fmt.Sprintf("%d-%d:%s", h.From, h.To, h.Reason))
			return err
		})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

func TestLateMessageSplitsTheHoleThatCoversIt(t *testing.T) {
	lost := func(from, to int64) domain.Hole { return domain.Hole{From: from, To: to, Reason: domain.HoleLost} }
	expired := func(from, to int64) domain.Hole {
		return domain.Hole{From: from, To: to, Reason: domain.HoleExpired}
	}
	cases := map[string]struct {
		holes []domain.Hole
		late  []int64
		holed string
		rows  string
		first int64 // filled; 0: not in it
	}{
		"start":                                 {[]domain.Hole{lost(5, 9)}, []int64{5}, "6-9:lost", "5", 5},
		"end":                                   {[]domain.Hole{lost(5, 9)}, []int64{9}, "5-8:lost", "9", 9},
		"middle":                                {[]domain.Hole{lost(5, 9)}, []int64{7}, "5-6:lost 8-9:lost", "7", 7},
		"a hole of one":                         {[]domain.Hole{lost(5, 5)}, []int64{5}, "", "5", 5},
		"the whole of it":                       {[]domain.Hole{lost(5, 7)}, []int64{7, 5, 6}, "", "5 6 7", 5},
		"every other":                           {[]domain.Hole{lost(5, 9)}, []int64{8, 6}, "5-5:lost 7-7:lost 9-9:lost", "6 8", 6},
		"adjacent, the first":                   {[]domain.Hole{lost(5, 9), lost(10, 12)}, []int64{9}, "5-8:lost 10-12:lost", "9", 9},
		"adjacent, the second":                  {[]domain.Hole{lost(5, 9), lost(10, 12)}, []int64{10}, "5-9:lost 11-12:lost", "10", 10},
		"adjacent, both":                        {[]domain.Hole{lost(5, 9), lost(10, 12)}, []int64{10, 9}, "5-8:lost 11-12:lost", "9 10", 9},
		"beside another reason":                 {[]domain.Hole{expired(1, 4), lost(5, 9), expired(10, 11)}, []int64{5, 9}, "1-4:expired 6-8:lost 10-11:expired", "5 9", 5},
		"expired":                               {[]domain.Hole{expired(1, 4), lost(5, 9)}, []int64{4}, "1-4:expired 5-9:lost", "", 0},
		"expired, and one that not":             {[]domain.Hole{expired(1, 4), lost(5, 9)}, []int64{4, 6}, "1-4:expired 5-5:lost 7-9:lost", "6", 6},
		"in no hole, of the settled generation": {[]domain.Hole{lost(5, 9)}, []int64{10}, "5-9:lost", "10", 0},
	}
	onEach(t, func(t *testing.T, db *DB) {
		gens := map[int]int64{}
		for p := range int(db.partitions) {
			gens[p] = raise(t, db, p)
		}
		n := 0
		for name, c := range cases {
			n++
			group := fmt.Sprint("room", n)
			other := group + "x"
			for _, h := range c.holes {
				addHole(t, db, group, h)
				addHole(t, db, other, h)
			}
			var late []domain.Message
			for _, seq := range c.late {
				late = append(late, message(group, seq, gens[db.partitions.Of(group)]))
			}
			untouched := holeRows(t, db, other)
			for _, try := range []string{"first", "again"} {
				filled, err := insertLateTx(db, late...)
				if err != nil {
					t.Fatalf("%s, %s: %v", name, try, err)
				}
				want := map[string]int64{}
				if c.first > 0 && try == "first" {
					want[group] = c.first
				}
				if diff := cmp.Diff(want, filled); diff != "" {
					t.Errorf("%s, %s: filled (-want +got):\n%s", name, try, diff)
				}
				if got := holeRows(t, db, group); got != c.holed {
					t.Errorf("%s, %s: holes: got %q, want %q", name, try, got, c.holed)
				}
				if got := seqs(stored(t, db, group)); got != c.rows {
					t.Errorf("%s, %s: rows: got %q, want %q", name, try, got, c.rows)
				}
			}
			if got := holeRows(t, db, other); got != untouched {
				t.Errorf("%s: holes of another group: got %q, want %q", name, got, untouched)
			}
		}
	})
}

// The floor that Redis keeps of a group without a seed is without such a message, although no hole covers it.
func TestLateMessageAboveAllHolesCameBackIfItsGenerationIsOver(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		p := db.partitions.Of("room")
		old := raise(t, db, p)
		insert(t, db, messages("room", 1, 2, old)...)
		raise(t, db, p)
		filled, err := insertLateTx(db, messages("room", 2, 4, old)...)
		if diff := cmp.Diff(map[string]int64{"room": 3}, filled); err != nil || diff != "" {
			t.Errorf("filled: %v (-want +got):\n%s", err, diff)
		}
		if got := seqs(stored(t, db, "room")); got != "1 2 3 4" {
			t.Errorf("rows: got %q, want 1 2 3 4", got)
		}
	})
}

func TestLateMessageMovesItsSendersMark(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		addHole(t, db, "room", domain.Hole{From: 1, To: 9, Reason: domain.HoleLost})
		if _, err := insertLateTx(db, message("room", 4, gen)); err != nil { // of u1
			t.Fatal(err)
		}
		who := domain.GroupUser{Group: "room", User: "u1"}
		marks, err := db.ReadMarks(t.Context(), []domain.GroupUser{who})
		if err != nil || marks[who] != 4 {
			t.Errorf("mark: got %d, %v, want 4", marks[who], err)
		}
	})
}

func TestLateMessageUnderATakenSeqChangesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		insert(t, db, message("room", 7, gen))
		addHole(t, db, "room", domain.Hole{From: 1, To: 6, Reason: domain.HoleLost})
		for name, change := range map[string]func(m *domain.Message){
			"content":    func(m *domain.Message) { m.Hash = strings.Repeat("0", 32) },
			"generation": func(m *domain.Message) { m.Gen-- },
		} {
			other := message("room", 7, gen)
			change(&other)
			_, err := insertLateTx(db, message("room", 3, gen), other)
			var taken *SeqTakenError
			if !errors.As(err, &taken) || taken.Seq != 7 {
				t.Errorf("another %s: got %v, want seq 7 taken", name, err)
			}
			if got := holeRows(t, db, "room"); got != "1-6:lost" {
				t.Errorf("another %s: holes: got %q, want them untouched", name, got)
			}
			if got := seqs(stored(t, db, "room")); got != "7" {
				t.Errorf("another %s: rows: got %q, want 7", name, got)
			}
		}
	})
}

// A row that an insert beside the late one has stored must not keep a hole around it.
func TestLateMessageThatIsStoredLeavesItsHole(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		insert(t, db, message("room", 7, gen))
		addHole(t, db, "room", domain.Hole{From: 7, To: 7, Reason: domain.HoleLost})
		filled, err := insertLateTx(db, message("room", 7, gen))
		if err != nil || filled["room"] != 7 || holeRows(t, db, "room") != "" {
			t.Errorf("got %v, %v, holes %q, want 7 filled and no hole", filled, err, holeRows(t, db, "room"))
		}
	})
}

func TestLateMessageThatItsSenderHasRepeatedIsNotStoredTwice(t *testing.T) {
	window := domain.DedupeWindow.Milliseconds()
	onEach(t, func(t *testing.T, db *DB) {
		for name, c := range map[string]struct {
			after int64 // ms between the late message and the repeat
			from  string
			id    string // of the repeat
			want  bool   // the late one is stored
		}{
			"behind it":           {window, "u", "c1", false},
			"before it":           {-window, "u", "c1", false},
			"too long behind it":  {window + 1, "u", "c1", true},
			"too long before it":  {-window - 1, "u", "c1", true},
			"of somebody else":    {1, "v", "c1", true},
			"another client_id":   {1, "u", "c2", true},
			"client_id with case": {1, "u", "C1", true},
		} {
			for _, where := range []string{"stored", "late as well"} {
				group := strings.ReplaceAll("r "+name+" "+where, " ", "-")
				gen := raise(t, db, db.partitions.Of(group))
				addHole(t, db, group, domain.Hole{From: 1, To: 90, Reason: domain.HoleLost})
				late, repeat := message(group, 50, gen), message(group, 95, gen)
				late.From, late.ClientID = "u", "c1"
				repeat.From, repeat.ClientID, repeat.TimeMS = c.from, c.id, late.TimeMS+c.after
				var err error
				if where == "stored" {
					insert(t, db, repeat)
					_, err = insertLateTx(db, late)
				} else {
					late.Seq, repeat.Seq = 95, 50 // the first of them is stored
					_, err = insertLateTx(db, late, repeat)
				}
				if err != nil {
					t.Fatalf("%s, %s: %v", name, where, err)
				}
				want := map[bool]string{true: "50 95", false: "95"}[c.want]
				if where != "stored" && !c.want {
					want = "50"
				}
				if got := seqs(stored(t, db, group)); got != want {
					t.Errorf("%s, %s: rows: got %q, want %q", name, where, got, want)
				}
			}
		}
		gen := raise(t, db, db.partitions.Of("room"))
		insert(t, db, message("room", 5, gen))
		if _, err := insertLateTx(db, message("room", 2, gen)); err != nil { // of the same sender, also without a client_id
			t.Fatal(err)
		}
		if got := seqs(stored(t, db, "room")); got != "2 5" {
			t.Errorf("without client_ids: got %q, want 2 5", got)
		}
	})
}

// Many at once, of several groups and out of order, against seeds of the same groups: afterwards every seq up to the
// start has a row or a hole, and none has both.
func TestLateMessagesAndSeedsLeaveNothingUnexplained(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		groups := []string{"a", "b", "c"}
		old := map[string]int64{}
		for p := range int(db.partitions) {
			raise(t, db, p)
		}
		for _, g := range groups {
			p := db.partitions.Of(g)
			create(t, db, g)
			old[g] = raise(t, db, p)
			insert(t, db, messages(g, 1, 3, old[g])...)
		}
		gens := map[int]int64{}
		for p := range int(db.partitions) {
			gens[p] = raise(t, db, p)
		}
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() {
				var late []domain.Message
				for _, g := range groups {
					for seq := int64(30 - n); seq > 5; seq -= 3 {
						late = append(late, message(g, seq, old[g]))
					}
				}
				if _, err := insertLateTx(db, late...); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				for _, g := range groups {
					if _, err := db.Seed(context.Background(), db.partitions.Of(g), gens[db.partitions.Of(g)], []string{g}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		for _, g := range groups {
			start := seedOne(t, db, gens[db.partitions.Of(g)], g).Start
			holes, err := db.Holes(t.Context(), g)
			if err != nil {
				t.Fatal(err)
			}
			rows := " " + seqs(stored(t, db, g)) + " "
			for seq := int64(1); seq <= start; seq++ {
				_, hole := holes.At(seq)
				if row := strings.Contains(rows, fmt.Sprint(" ", seq, " ")); row == hole {
					t.Errorf("%s/%d: row %v, hole %v, want one of them", g, seq, row, hole)
				}
			}
		}
	})
}
