package redisrepo

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

// Fields of gen: the generation whose speakers, or messages, were brought back.
const (
	heatWhole    = "heat"
	trafficWhole = "traffic"
)

const (
	expireBatch = 1000
	expireFirst = 100 // of each partition, where all are asked together
	heatBatch   = 500 // speakers in a call of the script, which takes about a millisecond for them
	heatStep    = 250 // groups of each partition whose numbers are read together

	// Redis reads the heat of a group in 0.2 µs, and does nothing else meanwhile.
	readWhole    = 10_000 // groups in a partition that are read at once
	readTogether = 5_000  // in several of them

	// What one page is explained with is bounded: speakers that are looked at together, for Redis does nothing else
	// meanwhile, and all in all in a partition, and those that are told of a group, the latest.
	explainStep = 1_000
	explainLook = 100_000
	explainMost = 1_000
)

// Heat expires what has left the window, then reads what is counted of every group; see domain.HeatCache. No command
// takes Redis longer than a millisecond or two, however many groups there are.
func (s *Store) Heat(ctx context.Context) (groups []domain.GroupHeat, nowMS int64, err error) {
	if nowMS, err = s.expireAll(ctx); err != nil {
		return nil, 0, err
	}
	of, err := s.readHeat(ctx)
	if err != nil {
		return nil, 0, err
	}
	if err := s.addNumbers(ctx, of); err != nil {
		return nil, 0, err
	}
	return slices.Concat(of...), nowMS, nil
}

// expireAll expires every partition. The time is the last one's.
func (s *Store) expireAll(ctx context.Context) (nowMS int64, err error) {
	calls := make([]scriptCall, s.cfg.Partitions)
	for p := range calls {
		calls[p] = s.expireCall(p, expireFirst)
	}
	cmds, err := s.runEach(ctx, expireScript, calls)
	if err != nil {
		return 0, fmt.Errorf("expire speakers: %w", err)
	}
	for p, c := range cmds {
		more, now, err := expireAnswer(c)
		if err == nil && more {
			now, err = s.expireSpeakers(ctx, p)
		}
		if err != nil {
			return 0, fmt.Errorf("expire speakers of partition %d: %w", p, err)
		}
		nowMS = now
	}
	return nowMS, nil
}

// expireSpeakers takes out what is older than the window, a bounded number at a time so that sends get between.
func (s *Store) expireSpeakers(ctx context.Context, p int) (nowMS int64, err error) {
	for {
		call := s.expireCall(p, expireBatch)
		more, now, err := expireAnswer(s.run(ctx, expireScript, call.keys, call.args...))
		if err != nil {
			return 0, fmt.Errorf("expire speakers of partition %d: %w", p, err)
		}
		if !more {
			return now, nil
		}
	}
}

func (s *Store) expireCall(p, most int) scriptCall {
	keys := []string{speakersKey(p), heatKey(p), messagesKey(p), trafficKey(p)} // of messages also what was counted before they were not
	return scriptCall{keys: keys, args: []any{s.cfg.HeatWindow.Milliseconds(), most}}
}

// expireAnswer reports whether there may be more to expire.
func expireAnswer(c *redis.Cmd) (more bool, nowMS int64, err error) {
	reply, err := c.Slice()
	if err != nil {
		return false, 0, err
	}
	if len(reply) != 2 {
		return false, 0, fmt.Errorf("an answer of %d parts", len(reply))
	}
	now, _ := reply[1].(string)
	nowMS, err = strconv.ParseInt(now, 10, 64)
	return reply[0] == int64(1), nowMS, err
}

// readHeat reads the counts of all partitions: whole ones together as long as they are few, for that costs Redis a third of
// scanning them, and those with very many a step at a time.
func (s *Store) readHeat(ctx context.Context) (of [][]domain.GroupHeat, err error) {
	sizes, err := s.heatSizes(ctx)
	if err != nil {
		return nil, err
	}
	of = make([][]domain.GroupHeat, len(sizes))
	for from := 0; from < len(sizes); {
		if sizes[from] > readWhole {
			if of[from], err = s.scanHeat(ctx, from); err != nil {
				return nil, err
			}
			from++
			continue
		}
		to, sum := from+1, sizes[from]
		for ; to < len(sizes) && sum+sizes[to] <= readTogether; to++ {
			sum += sizes[to]
		}
		pipe := s.rdb.Pipeline()
		cmds := make([]*redis.ZSliceCmd, to-from)
		for i := range cmds {
			cmds[i] = pipe.ZRangeWithScores(ctx, heatKey(from+i), 0, -1)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("read heat: %w", err)
		}
		for i, c := range cmds {
			for _, z := range c.Val() {
				if group, ok := z.Member.(string); ok && z.Score > 0 {
					of[from+i] = append(of[from+i], domain.GroupHeat{Group: group, Speakers: int(z.Score)})
				}
			}
		}
		from = to
	}
	return of, nil
}

func (s *Store) heatSizes(ctx context.Context) ([]int64, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.IntCmd, s.cfg.Partitions)
	for p := range cmds {
		cmds[p] = pipe.ZCard(ctx, heatKey(p))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("groups with heat: %w", err)
	}
	sizes := make([]int64, len(cmds))
	for p, c := range cmds {
		sizes[p] = c.Val()
	}
	return sizes, nil
}

// scanHeat reads the counts of a partition. By rank it could not be done in steps: a group that moves might be missed.
func (s *Store) scanHeat(ctx context.Context, p int) (groups []domain.GroupHeat, err error) {
	seen := make(map[string]bool) // a scan may come by twice
	for cursor := uint64(0); ; {
		var found []string
		if found, cursor, err = s.rdb.ZScan(ctx, heatKey(p), cursor, "", scanCount).Result(); err != nil {
			return nil, fmt.Errorf("scan heat of partition %d: %w", p, err)
		}
		for ; len(found) >= 2; found = found[2:] { // each with its score
			heat, err := strconv.ParseFloat(found[1], 64)
			if err != nil {
				return nil, fmt.Errorf("heat of %s: %w", found[0], err)
			}
			if heat > 0 && !seen[found[0]] {
				seen[found[0]] = true
				groups = append(groups, domain.GroupHeat{Group: found[0], Speakers: int(heat)})
			}
		}
		if cursor == 0 {
			return groups, nil
		}
	}
}

// addNumbers adds the numbers of messages, where they are counted, and the times of the last ones, as far as the generations
// that this instance believes in know them: who asks for the heads of the other groups finds the next generation.
func (s *Store) addNumbers(ctx context.Context, of [][]domain.GroupHeat) error {
	for from := 0; ; from += heatStep {
		pipe := s.rdb.Pipeline()
		vouch := s.newVouch()
		var asked []*heatNumbers
		for p, groups := range of {
			if from < len(groups) {
				asked = append(asked, s.askNumbers(ctx, pipe, vouch, p, groups[from:min(from+heatStep, len(groups))]))
			}
		}
		if len(asked) == 0 {
			return nil
		}
		if err := execIgnoringNil(ctx, pipe); err != nil {
			return fmt.Errorf("messages of groups with heat: %w", err)
		}
		for _, n := range asked {
			n.add(s.journal)
		}
	}
}

// heatNumbers is what is asked of some groups of a partition.
type heatNumbers struct {
	groups   []domain.GroupHeat
	gen      int64
	last     *redis.SliceCmd
	traffic  *redis.FloatSliceCmd // nil: messages are not counted
	standing *generationCheck
}

func (s *Store) askNumbers(ctx context.Context, pipe redis.Pipeliner, vouch *vouch, p int, groups []domain.GroupHeat) *heatNumbers {
	ids := make([]string, len(groups))
	for i := range groups {
		ids[i] = groups[i].Group
	}
	n := &heatNumbers{groups: groups, gen: s.gens(p)}
	n.last = pipe.HMGet(ctx, seqKey(p, n.gen), ids...)
	if s.cfg.CountMessages {
		n.traffic = pipe.ZMScore(ctx, trafficKey(p), ids...)
	}
	n.standing = vouch.check(ctx, pipe, p)
	return n
}

// add puts the answers into the groups.
func (n *heatNumbers) add(journal *domain.Journal) {
	if n.traffic != nil {
		for i, messages := range n.traffic.Val() {
			n.groups[i].Messages = int(messages)
		}
	}
	if !n.standing.is(n.gen) || journal.Over(n.groups[0].Group, n.gen) {
		return
	}
	for i, value := range n.last.Val() {
		known, _ := value.(string)
		_, ms, _ := strings.Cut(known, " ")
		n.groups[i].LastMS, _ = strconv.ParseInt(ms, 10, 64) // 0 means unknown
	}
}

// Speakers are those who count in the heat of groups now, the latest first. Of a group with very many, or in a partition with
// very many, they are not all, and who speaks again while they are looked for may be left out.
func (s *Store) Speakers(ctx context.Context, groups []string) (speakers []domain.Speaker, err error) {
	of := make(map[int][]string)
	for _, group := range groups {
		p := s.cfg.Partitions.Of(group)
		of[p] = append(of[p], group)
	}
	for p, groups := range of {
		some, err := s.speakersIn(ctx, p, groups)
		if err != nil {
			return nil, fmt.Errorf("speakers of %d groups: %w", len(groups), err)
		}
		speakers = append(speakers, some...)
	}
	return speakers, nil
}

// speakersIn looks at some of a partition's speakers at a time, until it has found as many as the groups' heat says.
func (s *Store) speakersIn(ctx context.Context, p int, groups []string) (speakers []domain.Speaker, err error) {
	heat, err := s.rdb.ZMScore(ctx, heatKey(p), groups...).Result()
	if err != nil {
		return nil, err
	}
	left, missing := make(map[string]int), 0
	for i, group := range groups {
		left[group] = min(int(heat[i]), explainMost)
		missing += left[group]
	}
	seen := make(map[domain.GroupUser]bool) // who speaks meanwhile pushes others back
	for from := 0; missing > 0 && from < explainLook; from += explainStep {
		args := []any{s.cfg.HeatWindow.Milliseconds(), from, explainStep}
		for group, n := range left {
			if n > 0 {
				args = append(args, group)
			}
		}
		told, err := s.run(ctx, spokeScript, []string{speakersKey(p)}, args...).StringSlice()
		if err != nil {
			return nil, err
		}
		for who := told[1:]; len(who) >= 3; who = who[3:] {
			ms, err := strconv.ParseFloat(who[2], 64)
			if err != nil {
				return nil, fmt.Errorf("time of a speaker of %s: %w", who[0], err)
			}
			of := domain.GroupUser{Group: who[0], User: who[1]}
			if left[of.Group] == 0 || seen[of] {
				continue
			}
			seen[of] = true
			left[of.Group]--
			missing--
			speakers = append(speakers, domain.Speaker{Group: of.Group, User: of.User, TimeMS: int64(ms)})
		}
		if told[0] == "END" {
			break
		}
	}
	return speakers, nil
}

// Traffic is the groups' numbers of messages in the window, where they are counted.
func (s *Store) Traffic(ctx context.Context, groups []string) (map[string]int, error) {
	if _, err := s.expireAll(ctx); err != nil {
		return nil, err
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.FloatCmd, len(groups))
	for i, group := range groups {
		cmds[i] = pipe.ZScore(ctx, trafficKey(s.cfg.Partitions.Of(group)), group)
	}
	if err := execIgnoringNil(ctx, pipe); err != nil {
		return nil, fmt.Errorf("messages of %d groups: %w", len(groups), err)
	}
	messages := make(map[string]int, len(groups))
	for i, c := range cmds {
		messages[groups[i]] = int(c.Val())
	}
	return messages, nil
}

// ExpireHeat expires what has left the window in some partitions, whether anybody speaks there, or asks, or not. It
// returns how many groups have any heat there.
func (s *Store) ExpireHeat(ctx context.Context, partitions []int) (groups int64, err error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.IntCmd, len(partitions))
	for i, p := range partitions {
		if _, err := s.expireSpeakers(ctx, p); err != nil {
			return 0, err
		}
		cmds[i] = pipe.ZCard(ctx, heatKey(p))
	}
	if len(cmds) == 0 {
		return 0, nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, fmt.Errorf("groups with heat in %d partitions: %w", len(partitions), err)
	}
	for _, c := range cmds {
		groups += c.Val()
	}
	return groups, nil
}

// WithoutHeat is those of some partitions' generations whose heat was not brought back yet, or whose messages.
func (s *Store) WithoutHeat(ctx context.Context, gens []domain.LogRange) (missing []domain.LogRange, err error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.SliceCmd, len(gens))
	for i, g := range gens {
		cmds[i] = pipe.HMGet(ctx, genKey(g.Partition), s.wholeFields()...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("whether %d partitions have their heat: %w", len(gens), err)
	}
	for i, g := range gens {
		of := strconv.FormatInt(g.Gen, 10)
		if slices.ContainsFunc(cmds[i].Val(), func(whole any) bool { return whole != of }) {
			missing = append(missing, g)
		}
	}
	return missing, nil
}

// wholeFields are all that say of gen that it was brought back what counts.
func (s *Store) wholeFields() []string {
	if s.cfg.CountMessages {
		return []string{heatWhole, trafficWhole}
	}
	return []string{heatWhole}
}

// WholeHeat names the generations of all partitions, if each has its heat and is its server's; see domain.HeatCache. It asks
// Redis alone: an instance may not have heard yet that it was emptied.
func (s *Store) WholeHeat(ctx context.Context) (of string, err error) {
	pipe := s.rdb.Pipeline()
	vouch := s.newVouch()
	cmds := make([]*redis.SliceCmd, s.cfg.Partitions)
	standing := make([]*generationCheck, s.cfg.Partitions)
	for p := range cmds {
		cmds[p] = pipe.HMGet(ctx, genKey(p), s.wholeFields()...)
		standing[p] = vouch.check(ctx, pipe, p)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return "", fmt.Errorf("whether %d partitions have their heat: %w", len(cmds), err)
	}
	gens := make([]string, len(cmds))
	for p, c := range cmds {
		gens[p] = field(c.Val(), 0)
		gen, err := strconv.ParseInt(gens[p], 10, 64)
		if err != nil || !standing[p].is(gen) || slices.ContainsFunc(c.Val(), func(whole any) bool { return whole != gens[p] }) {
			return "", nil //nolint:nilerr // a partition without a generation has no heat
		}
	}
	return strings.Join(gens, " "), nil
}

// AddHeat brings back the heat of a partition's generation: speakers are all who may count, of the groups of that
// partition. It fails when the generation is no longer the one. It may be called again, by anybody, at any time.
func (s *Store) AddHeat(ctx context.Context, gen domain.LogRange, speakers []domain.Speaker) error {
	keys := []string{genKey(gen.Partition), speakersKey(gen.Partition), heatKey(gen.Partition)}
	for {
		batch, whole := speakers, heatWhole
		if len(batch) > heatBatch {
			batch, whole = batch[:heatBatch], ""
		}
		args := s.heatArgs(gen, whole, len(batch))
		for _, speaker := range batch {
			args = append(args, speaker.Group, speaker.User, speaker.TimeMS)
		}
		if err := s.addHeat(ctx, gen, keys, args); err != nil {
			return err
		}
		if speakers = speakers[len(batch):]; whole != "" {
			return nil
		}
	}
}

// AddMessages brings back some messages, as AddHeat does speakers; last says that there are no more to come.
func (s *Store) AddMessages(ctx context.Context, gen domain.LogRange, messages []domain.MessageTime, last bool) error {
	keys := []string{genKey(gen.Partition), messagesKey(gen.Partition), trafficKey(gen.Partition)}
	whole := ""
	if last {
		whole = trafficWhole
	}
	args := s.heatArgs(gen, whole, len(messages))
	for _, m := range messages {
		args = append(args, m.Group, m.Seq, m.TimeMS)
	}
	return s.addHeat(ctx, gen, keys, args)
}

func (s *Store) heatArgs(gen domain.LogRange, whole string, n int) []any {
	args := make([]any, 0, 3+3*n)
	return append(args, gen.Gen, s.cfg.HeatWindow.Milliseconds(), whole)
}

func (s *Store) addHeat(ctx context.Context, gen domain.LogRange, keys []string, args []any) error {
	word, err := s.run(ctx, heatScript, keys, args...).Text()
	if err != nil {
		return fmt.Errorf("heat of partition %d: %w", gen.Partition, orFull(err))
	}
	if word != "OK" {
		return fmt.Errorf("heat of partition %d: generation %d is no longer current", gen.Partition, gen.Gen)
	}
	return nil
}
