package mysqlrepo

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hearth/domain"
)

// refuse makes the database refuse what a user writes, as an operator's own trigger may.
func refuse(t testing.TB, db *DB, user string) {
	t.Helper()
	signal := "IF NEW.from_account = '%s' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF"
	row := "FOR EACH ROW "
	if db.dialect.name == "sqlite" {
		signal, row = "BEGIN SELECT RAISE(ABORT, 'not this one') WHERE NEW.from_account = '%s'; END", ""
	}
	execSQL(t, db, "CREATE TRIGGER refuse BEFORE INSERT ON group_msg "+row+fmt.Sprintf(signal, user))
}

func accept(t testing.TB, db *DB) {
	t.Helper()
	execSQL(t, db, "DROP TRIGGER refuse")
}

// full is a message with everything that a message can have.
func full(group string, seq, gen int64) domain.Message {
	m := message(group, seq, gen)
	m.From, m.ClientID, m.Operator, m.ReplyTo, m.Mentions = "evil", "c1", "key", 3, []string{"ann", "bob"}
	m.Body = []byte(`[{"type":"text","text":"a<b>&c ` + "\u2028 😀" + `"}]`)
	m.Hash = domain.ContentHash(m.Body, m.Mentions, m.ReplyTo)
	return m
}

// putAside adds a dead letter the way the persister does: because of an error.
func putAside(t testing.TB, db *DB, m domain.Message) (dead bool) {
	t.Helper()
	err := tryInsert(db, m)
	var refused interface{ Refused() string }
	if !errors.As(err, &refused) {
		t.Fatalf("insert %s/%d: got %v, want it refused", m.Group, m.Seq, err)
	}
	dead, err = db.AddDeadLetter(t.Context(), &m, refused.Refused())
	if err != nil {
		t.Fatal(err)
	}
	return dead
}

func letters(t testing.TB, db *DB, q domain.LetterQuery) (list []domain.DeadLetter) {
	t.Helper()
	list, err := db.DeadLetters(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRefusedMessageIsPutAsideWholeAndItsSeqIsAHole(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		refuse(t, db, "evil")
		insert(t, db, messages("room", 1, 4, gen)...)
		insert(t, db, message("room", 6, gen))
		m := full("room", 5, gen)
		for range 2 { // a batch may come again
			if !putAside(t, db, m) {
				t.Error("dead: got false, want true")
			}
		}
		if got := holeRows(t, db, "room"); got != "5-5:lost" {
			t.Errorf("holes: got %q, want 5-5:lost", got)
		}
		list := letters(t, db, domain.LetterQuery{Limit: 10})
		if n, err := db.CountDeadLetters(t.Context()); err != nil || n != 1 || len(list) != 1 {
			t.Fatalf("letters: counted %d, %v, listed %d, want one", n, err, len(list))
		}
		if diff := cmp.Diff(m, list[0].Message); diff != "" {
			t.Errorf("message (-want +got):\n%s", diff)
		}
		if l := list[0]; !strings.Contains(l.Reason, "error ") || strings.Contains(l.Reason, "not this one") || l.CreatedMS == 0 {
			t.Errorf("got reason %q, time %d, want the number of the error alone, and a time", l.Reason, l.CreatedMS)
		}
	})
}

func TestARefusedMessageInAHoleMakesNoOther(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		refuse(t, db, "evil")
		addHole(t, db, "room", domain.Hole{From: 3, To: 6, Reason: domain.HoleLost})
		putAside(t, db, full("room", 5, gen))
		if got := holeRows(t, db, "room"); got != "3-6:lost" {
			t.Errorf("holes: got %q, want 3-6:lost", got)
		}
	})
}

func TestMessageWhoseSeqIsTakenIsPutAsideWithoutAHole(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		insert(t, db, message("room", 5, gen))
		if !putAside(t, db, full("room", 5, gen)) || holeRows(t, db, "room") != "" {
			t.Errorf("holes: got %q, want none: the seq has its message", holeRows(t, db, "room"))
		}
		_, _, err := db.RetryDeadLetter(t.Context(), "room", 5)
		if !errors.Is(err, ErrSeqTaken) || len(letters(t, db, domain.LetterQuery{Limit: 10})) != 1 {
			t.Errorf("retry: got %v, want ErrSeqTaken, and the letter still there", err)
		}
	})
}

func TestMessageThatIsStoredMeanwhileIsNoDeadLetter(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		m := full("room", 5, gen)
		insert(t, db, m)
		dead, err := db.AddDeadLetter(t.Context(), &m, "too early")
		if dead || err != nil || holeRows(t, db, "room") != "" || len(letters(t, db, domain.LetterQuery{Limit: 10})) != 0 {
			t.Errorf("got %v, %v, holes %q, want nothing to happen", dead, err, holeRows(t, db, "room"))
		}
	})
}

func TestDeadLettersOfAGenerationThatIsOverAreFenced(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		old := raise(t, db, db.partitions.Of("room"))
		raise(t, db, db.partitions.Of("room"))
		m := full("room", 5, old)
		if _, err := db.AddDeadLetter(t.Context(), &m, "reason"); !errors.Is(err, ErrFenced) {
			t.Errorf("got %v, want ErrFenced", err)
		}
		if len(letters(t, db, domain.LetterQuery{Limit: 10})) != 0 || holeRows(t, db, "room") != "" {
			t.Error("got a letter or a hole, want nothing")
		}
	})
}

func TestRetriedDeadLetterIsBackAtItsSeq(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		refuse(t, db, "evil")
		m := full("room", 5, gen)
		m.Operator = ""
		putAside(t, db, m)
		_, _, err := db.RetryDeadLetter(t.Context(), "room", 5)
		if !isRefused(err) || holeRows(t, db, "room") != "5-5:lost" || len(letters(t, db, domain.LetterQuery{Limit: 10})) != 1 {
			t.Errorf("while it is refused: got %v, want an error and no change", err)
		}
		accept(t, db)
		back, filled, err := db.RetryDeadLetter(t.Context(), "room", 5)
		if err != nil || back == nil || back.Hash != m.Hash || filled["room"] != 5 {
			t.Fatalf("got stored %+v, filled %v, %v, want 5 back", back, filled, err)
		}
		record := m.Record()
		if diff := cmp.Diff([]string{"5 " + string(record.Tail)}, stored(t, db, "room")); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
		if holeRows(t, db, "room") != "" || len(letters(t, db, domain.LetterQuery{Limit: 10})) != 0 {
			t.Error("the hole or the letter is still there")
		}
		_, _, err = db.RetryDeadLetter(t.Context(), "room", 5)
		wantCode(t, err, domain.CodeNotFound)
	})
}

func TestRetryOfWhatItsSenderHasRepeatedForgetsTheLetter(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		gen := raise(t, db, db.partitions.Of("room"))
		refuse(t, db, "evil")
		m := full("room", 5, gen)
		putAside(t, db, m)
		accept(t, db)
		again := m
		again.Seq++
		insert(t, db, again)
		back, filled, err := db.RetryDeadLetter(t.Context(), "room", 5)
		if err != nil || back != nil || len(filled) != 0 || holeRows(t, db, "room") != "5-5:lost" || len(letters(t, db, domain.LetterQuery{Limit: 10})) != 0 {
			t.Errorf("got stored %v, filled %v, %v, want no row, the hole kept and the letter gone", back, filled, err)
		}
	})
}

func TestDeadLettersAreListedInPages(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		var want []string
		for _, group := range []string{"a", "b", "c"} {
			for seq := int64(1); seq <= 3; seq++ {
				m := full(group, seq, 1)
				if _, err := db.AddDeadLetter(t.Context(), &m, "reason"); err != nil {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprint(group, seq))
			}
		}
		for group, want := range map[string][]string{"": want, "b": want[3:6], "d": nil} {
			var got []string
			for q := (domain.LetterQuery{Group: group, Limit: 2}); ; {
				page := letters(t, db, q)
				if len(page) == 0 {
					break
				}
				for _, l := range page {
					got = append(got, fmt.Sprint(l.Group, l.Seq))
					q.AfterGroup, q.AfterSeq = l.Group, l.Seq
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("of group %q (-want +got):\n%s", group, diff)
			}
		}
	})
}

// What an operator adds to the table refuses values, too.
func TestChecksAndForeignKeysRefuse(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"check":       "ALTER TABLE group_msg ADD CONSTRAINT short CHECK (from_account <> 'evil')",
		"foreign key": "ALTER TABLE group_msg ADD FOREIGN KEY (group_id) REFERENCES chat_group (group_id)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openEmpty(t, "mysql")
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			execSQL(t, db, change)
			if err := tryInsert(db, full("room", 1, 1)); !isRefused(err) {
				t.Errorf("got %v, want it refused", err)
			}
		})
	}
}
