package mysqlrepo

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"hearth/domain"
	"hearth/domain/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testserver.Main{M: m}) }

// testConfig: seeds jump by 50 only, so that a test can look at every seq.
var testConfig = Config{Partitions: 4, SeqJump: 50}

// onEach runs a test on every database hearth knows, each time on an empty one with the schema.
func onEach(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Parallel()
	for _, backend := range []string{"sqlite", "mysql"} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			db := openEmpty(t, backend)
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, db)
		})
	}
}

func openEmpty(t testing.TB, backend string) *DB {
	t.Helper()
	cfg := testConfig
	var db *DB
	var err error
	if backend == "mysql" {
		cfg.DSN = testserver.MySQL(t)
		db, err = Open(context.Background(), cfg)
	} else {
		db, err = OpenSQLite(context.Background(), filepath.Join(t.TempDir(), "hearth.db"), cfg)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

// raise makes the next generation of a partition and settles it.
func raise(t testing.TB, db *DB, partition int) int64 {
	t.Helper()
	g, err := db.Renew(context.Background(), partition, func(context.Context) (domain.Observed, error) {
		return domain.Observed{Identity: "server"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Settle(context.Background(), partition, g.Gen); err != nil {
		t.Fatal(err)
	}
	return g.Gen
}

// message makes one whose content follows from its seq.
func message(group string, seq, gen int64) domain.Message {
	body := []byte(`[{"type":"text","text":"message ` + strconv.FormatInt(seq, 10) + `"}]`)
	return domain.Message{
		Group: group, Seq: seq, TimeMS: 1_700_000_000_000 + seq*1000, Gen: gen, GroupType: domain.Room,
		Header: domain.Header{From: "u" + strconv.FormatInt(seq%3, 10)},
		Body:   body, Hash: domain.ContentHash(body, nil, 0),
	}
}

func messages(group string, from, to, gen int64) (msgs []domain.Message) {
	for seq := from; seq <= to; seq++ {
		msgs = append(msgs, message(group, seq, gen))
	}
	return msgs
}

// insert names the generation of the messages for their partitions.
func insert(t testing.TB, db *DB, msgs ...domain.Message) {
	t.Helper()
	if err := tryInsert(db, msgs...); err != nil {
		t.Fatal(err)
	}
}

func tryInsert(db *DB, msgs ...domain.Message) error {
	gens := make(map[int]int64)
	for _, m := range msgs {
		gens[db.partitions.Of(m.Group)] = m.Gen
	}
	return db.InsertMessages(context.Background(), gens, msgs)
}

// stored reads all messages of a group, as "seq tail" lines.
func stored(t testing.TB, db *DB, group string) (lines []string) {
	t.Helper()
	records, err := db.Messages(context.Background(), domain.Range{Group: group, From: 1, To: 1 << 53, Limit: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		lines = append(lines, strconv.FormatInt(r.Seq, 10)+" "+string(r.Tail))
	}
	return lines
}

func seqs(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		seq, _, _ := strings.Cut(line, " ")
		b.WriteString(seq + " ")
	}
	return strings.TrimSpace(b.String())
}

func execSQL(t testing.TB, db *DB, query string, args ...any) {
	t.Helper()
	if _, err := db.sql.ExecContext(context.Background(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func wantCode(t testing.TB, err error, want domain.Code) {
	t.Helper()
	if got := domain.CodeOf(err); got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

// isRefused asks as packages do that must not import this one.
func isRefused(err error) bool {
	var refused interface{ Refused() (reason string) }
	return errors.As(err, &refused)
}
