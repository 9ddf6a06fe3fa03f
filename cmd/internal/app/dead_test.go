package app

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"hearth/domain"
	"hearth/domain/testserver"
	"hearth/jobs"
	"hearth/mysqlrepo"
	"hearth/redisrepo"
)

const (
	patience      = 20 * time.Second
	twoPartitions = domain.Partitions(2)
)

// path is the way of a message from its send to MySQL over real servers, without the doors.
type path struct {
	t        *testing.T
	db       *mysqlrepo.DB
	redis    *redisrepo.Store
	mysql    *sql.DB // beside hearth
	gens     *domain.Generations
	sends    *domain.Sends
	history  *domain.History
	writer   *jobs.Writer
	repaired chan string

	mu      sync.Mutex // guards answers
	answers map[string]string
}

func newPath(t *testing.T) *path {
	t.Helper()
	dsn := testserver.MySQL(t)
	p := &path{t: t, repaired: make(chan string, 10), answers: make(map[string]string)}
	var err error
	p.db, err = mysqlrepo.Open(t.Context(), mysqlrepo.Config{DSN: dsn, Partitions: twoPartitions})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.db.Close()) })
	require.NoError(t, p.db.Migrate(t.Context()))
	p.mysql, err = sql.Open("mysql", dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.mysql.Close()) })
	p.redis, err = redisrepo.Open(redisrepo.Config{
		Addrs: []string{testserver.StartRedis(t).Addr()}, Partitions: twoPartitions, HeatWindow: time.Minute,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.redis.Close()) })

	reg := prometheus.NewRegistry()
	p.writer = jobs.NewWriter(p.redis, p.db, 1000, zerolog.Nop(), reg)
	watermarks := &domain.Watermarks{}
	kept := domain.NewJournal(twoPartitions, 1<<20)
	journal := jobs.NewJournal(kept, p.writer, p.db, p.redis, domain.NewRepairer(p.db, p.redis), watermarks, twoPartitions, "i", zerolog.Nop(), reg)
	p.gens = domain.NewGenerations(twoPartitions, p.redis, p.db, journal, p.writer, func(int, int64) {})
	p.redis.UseGenerations(p.gens)
	p.redis.UseJournal(kept)
	journal.UseGenerations(p.gens)
	heads := domain.NewHeads(p.redis, p.db)
	recovery := domain.NewRecovery(p.gens, heads, p.db, p.redis)
	appender := redisrepo.NewAppender(p.redis, recovery, redisrepo.AppendConfig{BacklogLimit: 10_000}, zerolog.Nop(), reg)
	p.sends = domain.NewSends(appender, watermarks, nil)
	p.history = domain.NewHistory(heads, p.redis, p.db, p.redis, p.redis, p.redis)
	handler := ears{watermarks: watermarks, repaired: p.repaired, confirmed: make(chan string, 10)}
	subscriber := redisrepo.NewSubscriber(p.redis, handler, "i", zerolog.Nop(), reg)
	require.NoError(t, p.gens.RenewAll(t.Context()))
	groups := domain.NewGroups(p.db, p.redis, p.redis, heads, nil)
	subscriber.Subscribe([]string{"tea"})
	for _, run := range []func(context.Context) error{appender.Run, subscriber.Run} {
		task := startTasks(t.Context(), run)
		t.Cleanup(func() { require.NoError(t, task.stop(context.Background())) })
	}
	<-handler.confirmed
	for _, g := range []string{"tea", "coffee", "milk"} {
		_, err := groups.Create(t.Context(), domain.Actor{Key: "key"}, domain.NewGroup{ID: g, Type: domain.Room, Name: g})
		require.NoError(t, err)
	}
	return p
}

// ears hear what the test asks about.
type ears struct {
	watermarks          *domain.Watermarks
	repaired, confirmed chan string
}

func (e ears) Published(domain.Push)             {}
func (e ears) UserNoticed(string, domain.Notice) {}
func (e ears) UserNotes(string)                  {}
func (e ears) Confirmed(group string)            { e.confirmed <- group }

func (e ears) Noticed(group string, n domain.Notice) {
	if n.Repaired {
		e.repaired <- fmt.Sprint(group, " ", n.After)
	}
}

func (e ears) Refused(group string, gen, seq int64)   { e.watermarks.Fail(group, gen, seq) }
func (e ears) Persisted(group string, gen, seq int64) { e.watermarks.Raise(group, gen, seq) }

// send sends durably; its answer is in answers when it comes. It returns when the message has its seq.
func (p *path) send(group, from, id string) {
	p.t.Helper()
	before := p.backlog()
	p.mu.Lock()
	delete(p.answers, id) // of a former send
	p.mu.Unlock()
	p.sends.Send(domain.Draft{
		Group: group, From: from, ClientID: id, Body: []byte(`[{"type":"text","text":"of ` + id + `"}]`),
		Ack: domain.AckDurable, Timeout: domain.MaxAckTimeout,
	}, func(r domain.Receipt, err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.answers[id] = fmt.Sprint(r.Seq, " ", r.Durable, " ", domain.CodeOf(err))
	}, nil)
	p.until(id+" is in the log", func() bool { return p.backlog() > before })
}

func (p *path) backlog() int64 {
	p.t.Helper()
	n, err := p.redis.Backlog(p.t.Context(), p.logs())
	require.NoError(p.t, err)
	return n
}

func (p *path) logs() (logs []domain.LogRange) {
	for partition := range int(twoPartitions) {
		logs = append(logs, domain.LogRange{Partition: partition, Gen: p.gens.Of(partition)})
	}
	return logs
}

// write writes what is in the logs, and waits for the answer to a send.
func (p *path) write(id string) string {
	p.t.Helper()
	_, _, err := p.writer.Write(p.t.Context(), p.logs())
	require.NoError(p.t, err)
	require.Zero(p.t, p.backlog())
	var answer string
	p.until(id+" is answered", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		answer = p.answers[id]
		return answer != ""
	})
	return answer
}

func (p *path) until(what string, met func() bool) {
	p.t.Helper()
	require.Eventually(p.t, met, patience, 2*time.Millisecond, what)
}

// page is what a pull shows of a group, in short.
func (p *path) page(group string) string {
	p.t.Helper()
	zero := int64(0)
	head, page, err := p.history.Pull(p.t.Context(), domain.Actor{User: "ann"}, domain.PullQuery{Group: group, After: &zero})
	require.NoError(p.t, err)
	require.False(p.t, page.More)
	s := fmt.Sprint("max ", head.MaxSeq, ",")
	for _, m := range page.Messages {
		s += fmt.Sprint(" ", m.Seq, m.From())
	}
	for _, h := range page.Holes {
		s += fmt.Sprint(" (", h.From, "-", h.To, " ", h.Reason, ")")
	}
	return s
}

func (p *path) exec(statement string) {
	p.t.Helper()
	_, err := p.mysql.ExecContext(p.t.Context(), statement)
	require.NoError(p.t, err)
}

// A trigger refuses what one user writes: his messages become holes, nobody else notices, and they come back.
func TestARefusedMessageHoldsUpNobodyAndComesBack(t *testing.T) {
	t.Parallel()
	p := newPath(t)
	p.exec("CREATE TRIGGER no_evil BEFORE INSERT ON group_msg FOR EACH ROW IF NEW.from_account = 'evil' THEN SIGNAL SQLSTATE '45000'; END IF")
	for n := range 3 {
		for _, group := range []string{"tea", "coffee", "milk"} {
			p.send(group, "ann", fmt.Sprint(group, n))
		}
		if n < 2 {
			p.send("tea", "evil", fmt.Sprint("evil", n))
		}
	}
	require.Equal(t, "0 false internal", p.write("evil0"))
	require.Equal(t, "0 false internal", p.write("evil1"))
	for id, want := range map[string]string{"tea0": "1 true ", "tea2": "5 true ", "coffee2": "3 true ", "milk0": "1 true "} {
		require.Equal(t, want, p.write(id), id)
	}
	require.Equal(t, "max 5, 1ann 3ann 5ann (2-2 lost) (4-4 lost)", p.page("tea"))
	require.Equal(t, "max 3, 1ann 2ann 3ann", p.page("coffee"))
	head, err := p.history.Enter(t.Context(), domain.Actor{User: "bob"}, "tea")
	require.NoError(t, err)
	require.Equal(t, int64(3), head.Unread(), "Redis knows the holes, too")

	p.send("tea", "evil", "evil0") // again, as internal says one may
	require.Equal(t, "0 false internal", p.write("evil0"))
	require.Equal(t, "max 6, 1ann 3ann 5ann (2-2 lost) (4-4 lost) (6-6 lost)", p.page("tea"))
	letters, err := p.db.DeadLetters(t.Context(), domain.LetterQuery{Limit: 10})
	require.NoError(t, err)
	require.Len(t, letters, 3)

	p.exec("DROP TRIGGER no_evil")
	repairer := domain.NewRepairer(p.db, p.redis)
	for _, retry := range []struct {
		seq    int64
		stored bool
		page   string
	}{
		{4, true, "max 6, 1ann 3ann 4evil 5ann (2-2 lost) (6-6 lost)"},
		{6, true, "max 6, 1ann 3ann 4evil 5ann 6evil (2-2 lost)"},
		{2, false, "max 6, 1ann 3ann 4evil 5ann 6evil (2-2 lost)"}, // 6 is its repeat
	} {
		stored, filled, err := p.db.RetryDeadLetter(t.Context(), "tea", retry.seq)
		require.NoError(t, err)
		require.Equal(t, retry.stored, stored != nil)
		require.NoError(t, repairer.Repaired(t.Context(), filled))
		if retry.stored {
			p.until("the repair is told", func() bool { return len(p.repaired) > 0 })
			require.Equal(t, fmt.Sprint("tea ", retry.seq-1), <-p.repaired)
		}
		require.Equal(t, retry.page, p.page("tea"))
	}
	n, err := p.db.CountDeadLetters(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}
