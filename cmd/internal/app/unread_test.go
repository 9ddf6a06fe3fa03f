package app

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	goredis "github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"hearth/domain"
	"hearth/domain/testserver"
	"hearth/jobs"
	"hearth/mysqlrepo"
	"hearth/redisrepo"
)

// pair is one of two instances over the same stores, without its doors and with the jobs in the test's hands.
type pair struct {
	redis   *redisrepo.Store
	kept    *domain.Journal
	gens    *domain.Generations
	writer  *jobs.Writer
	sends   *domain.Sends
	recalls *domain.Recalls
	history *domain.History
	groups  *domain.Groups
}

func newPair(t *testing.T, cfg redisrepo.Config, db *mysqlrepo.DB, name string) *pair {
	t.Helper()
	i := &pair{kept: domain.NewJournal(twoPartitions, 1<<20)}
	var err error
	i.redis, err = redisrepo.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, i.redis.Close()) })
	reg := prometheus.NewRegistry()
	watermarks := &domain.Watermarks{}
	i.writer = jobs.NewWriter(i.redis, db, 1000, zerolog.Nop(), reg)
	journal := jobs.NewJournal(i.kept, i.writer, db, i.redis, domain.NewRepairer(db, i.redis), watermarks, twoPartitions, name, zerolog.Nop(), reg)
	i.gens = domain.NewGenerations(twoPartitions, i.redis, db, journal, i.writer, func(int, int64) {})
	i.redis.UseGenerations(i.gens)
	i.redis.UseJournal(i.kept)
	journal.UseGenerations(i.gens)
	heads := domain.NewHeads(i.redis, db)
	recovery := domain.NewRecovery(i.gens, heads, db, i.redis)
	appender := redisrepo.NewAppender(i.redis, recovery, redisrepo.AppendConfig{BacklogLimit: 10_000}, zerolog.Nop(), reg)
	i.sends = domain.NewSends(appender, watermarks, nil)
	i.recalls = domain.NewRecalls(i.redis, db, recovery)
	i.history = domain.NewHistory(heads, i.redis, db, i.redis, i.redis, i.redis)
	i.groups = domain.NewGroups(db, i.redis, i.redis, heads, nil)
	require.NoError(t, i.gens.RenewAll(t.Context()))
	task := startTasks(t.Context(), appender.Run)
	t.Cleanup(func() { require.NoError(t, task.stop(context.Background())) })
	return i
}

// pairs are two instances, with the servers beside hearth.
type pairs struct {
	t         *testing.T
	db        *mysqlrepo.DB
	rdb       *goredis.Client
	instances []*pair
	runs      int
}

// eachPair runs a test over real servers and over those that are embedded.
func eachPair(t *testing.T, test func(t *testing.T, p *pairs)) {
	t.Parallel()
	mysql := mysqlrepo.Config{Partitions: twoPartitions}
	redis := redisrepo.Config{Partitions: twoPartitions, HeatWindow: patience}
	run := func(t *testing.T, redis redisrepo.Config, db *mysqlrepo.DB, err error) {
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		require.NoError(t, db.Migrate(t.Context()))
		p := &pairs{t: t, db: db, rdb: goredis.NewClient(&goredis.Options{Addr: redis.Addrs[0]})}
		t.Cleanup(func() { require.NoError(t, p.rdb.Close()) })
		for _, name := range []string{"a", "b"} {
			p.instances = append(p.instances, newPair(t, redis, db, name))
		}
		test(t, p)
	}
	t.Run("redis and mysql", func(t *testing.T) {
		t.Parallel()
		mysql, redis := mysql, redis
		mysql.DSN, redis.Addrs = testserver.MySQL(t), []string{testserver.StartRedis(t).Addr()}
		db, err := mysqlrepo.Open(t.Context(), mysql)
		run(t, redis, db, err)
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		redis := redis
		redis.Addrs, redis.Identity = []string{miniredis.RunT(t).Addr()}, "embedded"
		db, err := mysqlrepo.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "hearth.db"), mysql)
		run(t, redis, db, err)
	})
}

// empty is FLUSHALL, and what the instances do about it: all of them close the generation before the next one begins.
func (p *pairs) empty() {
	require.NoError(p.t, p.rdb.FlushAll(p.t.Context()).Err())
	for partition := range int(twoPartitions) {
		for _, i := range p.instances {
			require.NoError(p.t, i.gens.Learn(p.t.Context(), partition, i.gens.Of(partition)+1))
		}
		for _, i := range p.instances {
			require.NoError(p.t, i.gens.Renew(p.t.Context(), partition, i.gens.Of(partition)))
		}
	}
}

// modelMessage is what the model knows of one.
type modelMessage struct {
	seq      int64
	from     string
	mentions []string
	recalled string // by whom
}

// model is a group as its members should meet it.
type model struct {
	*pairs
	group    string
	role     map[string]domain.Role
	messages []modelMessage
	top      int64
	read     map[string]int64
	outs     map[string]bool // who has left
}

var modelRoles = map[string]domain.Role{
	"own": domain.Owner, "adm": domain.Admin, "abe": domain.Admin, "ann": domain.Member, "bob": domain.Member, "cy": domain.Member,
}

func (p *pairs) newModel() *model {
	p.runs++
	m := &model{pairs: p, group: fmt.Sprint("g", p.runs), role: map[string]domain.Role{}, read: map[string]int64{}, outs: map[string]bool{}}
	server := domain.Actor{Key: "key"}
	var members []string
	for name, role := range modelRoles {
		m.role[m.user(name)], members = role, append(members, m.user(name))
	}
	groups := p.instances[0].groups
	_, err := groups.Create(p.t.Context(), server, domain.NewGroup{
		ID: m.group, Type: domain.Private, Join: domain.JoinOpen, Name: "g", Owner: m.user("own"), Members: members,
	})
	require.NoError(p.t, err)
	for _, name := range []string{"adm", "abe"} {
		_, err := groups.UpdateMember(p.t.Context(), server, m.group, m.user(name), domain.MemberPatch{Role: domain.Admin})
		require.NoError(p.t, err)
	}
	return m
}

// user is one of this run only.
func (m *model) user(name string) string { return fmt.Sprint(name, m.runs) }

func (m *model) drawUser(r *rapid.T) string {
	return m.user(rapid.SampledFrom([]string{"own", "adm", "abe", "ann", "bob", "cy"}).Draw(r, "user"))
}

func (m *model) any(r *rapid.T) *pair { return rapid.SampledFrom(m.instances).Draw(r, "instance") }

func (m *model) send(r *rapid.T) {
	user := m.drawUser(r)
	mentions := rapid.SampledFrom([][]string{nil, nil, {m.user("ann")}, {m.user("bob"), m.user("cy")}, {domain.MentionAll}}).Draw(r, "mentions")
	replyTo := rapid.Int64Range(0, m.top).Draw(r, "reply to")
	if rapid.IntRange(0, 9).Draw(r, "above") == 0 {
		replyTo = 1 << 52
	}
	got, failed := make(chan domain.Receipt, 1), make(chan error, 1)
	m.any(r).sends.Send(domain.Draft{
		Group: m.group, From: user, Body: []byte(`[{"type":"text","text":"hello"}]`), Mentions: mentions, ReplyTo: replyTo,
	}, func(receipt domain.Receipt, err error) { got <- receipt; failed <- err }, nil)
	receipt, err := <-got, <-failed
	switch {
	case m.outs[user]:
		require.Equal(r, domain.CodeNotMember, domain.CodeOf(err))
	case replyTo > m.top:
		require.Equal(r, domain.CodeBadRequest, domain.CodeOf(err))
		m.learnTop(r)
	default:
		require.NoError(r, err)
		require.Greater(r, receipt.Seq, m.top)
		m.messages = append(m.messages, modelMessage{seq: receipt.Seq, from: user, mentions: mentions})
		m.top, m.read[user] = receipt.Seq, receipt.Seq
	}
}

// learnTop takes over that a group was seeded, by what did not become a message.
func (m *model) learnTop(r *rapid.T) {
	head, err := m.any(r).history.Head(m.t.Context(), m.group)
	require.NoError(r, err)
	require.GreaterOrEqual(r, head.MaxSeq, m.top)
	m.top = head.MaxSeq
}

func (m *model) markRead(r *rapid.T) {
	user, seq := m.drawUser(r), rapid.Int64Range(1, m.top+2).Draw(r, "seq")
	if len(m.messages) > 0 && rapid.Bool().Draw(r, "of a message") {
		seq = rapid.SampledFrom(m.messages).Draw(r, "message").seq
	}
	_, err := m.any(r).history.MarkRead(m.t.Context(), domain.Actor{User: user}, m.group, seq, "")
	if m.outs[user] {
		require.Equal(r, domain.CodeNotMember, domain.CodeOf(err))
		return
	}
	require.NoError(r, err)
	m.read[user] = max(m.read[user], min(seq, m.top))
}

func (m *model) recall(r *rapid.T) {
	actor := domain.Actor{User: m.drawUser(r)}
	by := actor.User
	if rapid.IntRange(0, 9).Draw(r, "app server") == 0 {
		actor, by = domain.Actor{Key: "key"}, "key"
	}
	seq, at := m.top+1, -1
	if len(m.messages) > 0 && rapid.IntRange(0, 9).Draw(r, "a message") > 0 {
		at = rapid.IntRange(0, len(m.messages)-1).Draw(r, "which")
		seq = m.messages[at].seq
	}
	err := m.any(r).recalls.Recall(m.t.Context(), actor, m.group, seq)
	m.learnTop(r)
	switch {
	case actor.User != "" && m.outs[actor.User]:
		require.Equal(r, domain.CodeNotMember, domain.CodeOf(err))
	case at < 0:
		require.Equal(r, domain.CodeNotFound, domain.CodeOf(err))
	case m.messages[at].recalled != "":
		require.NoError(r, err)
	case !m.may(actor, m.messages[at].from):
		require.Equal(r, domain.CodeForbidden, domain.CodeOf(err))
	default:
		require.NoError(r, err)
		m.messages[at].recalled = by
	}
}

// may is PROTOCOL.md's table, for messages that are younger than two minutes.
func (m *model) may(actor domain.Actor, from string) bool {
	sender := m.role[from]
	if m.outs[from] {
		sender = domain.Outsider
	}
	switch {
	case actor.IsServer() || actor.User == from || m.role[actor.User] == domain.Owner:
		return true
	case m.role[actor.User] == domain.Admin:
		return sender != domain.Owner && sender != domain.Admin
	}
	return false
}

// comeOrGo lets one user leave or join again.
func (m *model) comeOrGo(r *rapid.T) {
	user, groups := m.user("cy"), m.any(r).groups
	if !m.outs[user] {
		require.NoError(r, groups.Leave(m.t.Context(), domain.Actor{User: user}, m.group))
		m.outs[user] = true
		return
	}
	_, err := groups.Join(m.t.Context(), domain.Actor{User: user}, m.group)
	require.NoError(r, err)
	delete(m.outs, user)
	m.read[user] = m.top
}

func (m *model) persist(r *rapid.T) {
	i := m.any(r)
	var logs []domain.LogRange
	for partition := range int(twoPartitions) {
		logs = append(logs, domain.LogRange{Partition: partition, Gen: i.gens.Of(partition)})
	}
	_, _, err := i.writer.Write(m.t.Context(), logs)
	require.NoError(r, err)
	head, err := i.history.Head(m.t.Context(), m.group)
	require.NoError(r, err)
	for _, other := range m.instances { // as the watermark tells them
		other.kept.Committed(m.group, i.gens.Of(twoPartitions.Of(m.group)), head.PersistedSeq)
	}
}

// expire does what retention does, up to a message.
func (m *model) expire(r *rapid.T) {
	if len(m.messages) == 0 {
		return
	}
	upTo := rapid.SampledFrom(m.messages).Draw(r, "up to").seq
	i := m.any(r)
	list, err := i.redis.Expiring(m.t.Context(), []string{m.group})
	require.NoError(r, err)
	for _, e := range list {
		e.UpTo = min(e.UpTo, upTo)
		n, err := m.db.Expire(m.t.Context(), e, 1<<50, 1000)
		require.NoError(r, err)
		if n == 0 {
			continue
		}
		require.NoError(r, domain.TakeHoles(m.t.Context(), m.db, i.redis, m.group))
		m.messages = slices.DeleteFunc(m.messages, func(x modelMessage) bool { return x.seq <= e.UpTo })
	}
}

// check asks an instance for all that the model knows.
func (m *model) check(r *rapid.T) {
	i := m.any(r)
	for name := range modelRoles {
		user := m.user(name)
		unread, mentioned := int64(0), int64(0)
		for _, x := range m.messages {
			if x.seq <= m.read[user] {
				continue
			}
			unread++
			if x.recalled == "" && (slices.Contains(x.mentions, user) || slices.Contains(x.mentions, domain.MentionAll)) {
				mentioned = x.seq
			}
		}
		list := m.list(r, i, user, mentioned)
		if m.outs[user] {
			require.Empty(r, list)
			continue
		}
		require.Len(r, list, 1)
		require.Equal(r, unread, list[0].Unread(), "unread of %s", user)
		require.Equal(r, mentioned, list[0].MentionedSeq, "mention of %s", user)
		require.Equal(r, m.read[user], list[0].ReadSeq, "mark of %s", user)
	}
	require.Equal(r, m.shown(), m.page(r, i))
}

// list are a user's groups. It asks again where a mention is missing: while MySQL does not answer in time, as on a busy machine,
// lists are without those that only it knows.
func (m *model) list(r *rapid.T, i *pair, user string, mentioned int64) (list []domain.Conversation) {
	for range 5 {
		var err error
		list, _, err = i.history.Conversations(m.t.Context(), domain.Actor{User: user}, "")
		require.NoError(r, err)
		if len(list) == 0 || mentioned == 0 || list[0].MentionedSeq != 0 {
			break
		}
	}
	return list
}

// shown is what a page should show: who sent, and who recalled.
func (m *model) shown() (lines []string) {
	for _, x := range m.messages {
		lines = append(lines, fmt.Sprint(x.seq, x.from, " ", x.recalled))
	}
	return lines
}

func (m *model) page(r *rapid.T, i *pair) (lines []string) {
	after, since, limit := int64(0), int64(0), rapid.IntRange(1, 200).Draw(r, "limit")
	for more := true; more; {
		_, page, err := i.history.Pull(m.t.Context(), domain.Actor{User: m.user("ann")}, domain.PullQuery{
			Group: m.group, After: &after, Limit: limit, RecalledAfterMS: &since,
		})
		require.NoError(r, err)
		var recalled []int64
		for _, x := range m.messages {
			if x.recalled != "" && x.seq <= after {
				recalled = append(recalled, x.seq)
			}
		}
		require.ElementsMatch(r, recalled, page.Recalled, "recalled up to %d", after)
		for _, record := range page.Messages {
			message, err := domain.MessageOf(record)
			require.NoError(r, err)
			require.Equal(r, message.RecalledMS == 0, len(message.Body) > 0, "body of %d", record.Seq)
			lines, after = append(lines, fmt.Sprint(record.Seq, record.From(), " ", message.RecalledBy)), record.Seq
		}
		more = page.More
	}
	return lines
}

// Unread, marks, recalls and mentions are those of a model, on either of two instances, whatever MySQL has got so far,
// through an emptied Redis and through retention.
func TestUnreadRecallsAndMentionsAreThoseOfAModel(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pairs) {
		rapid.Check(t, func(r *rapid.T) {
			m := p.newModel()
			for range rapid.IntRange(1, 14).Draw(r, "steps") {
				switch do := rapid.IntRange(0, 19).Draw(r, "do"); {
				case do < 7:
					m.send(r)
				case do < 11:
					m.recall(r)
				case do < 14:
					m.markRead(r)
				case do < 16:
					m.persist(r)
				case do < 17:
					m.comeOrGo(r)
				case do < 18:
					m.expire(r)
				default:
					m.empty()
				}
				m.check(r)
			}
			m.persist(r)
			m.empty()
			m.check(r) // what MySQL has by itself
		})
	})
}
