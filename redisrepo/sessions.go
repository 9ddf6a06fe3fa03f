package redisrepo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain"
)

const (
	sessionTTL    = 30 * 24 * time.Hour // of a user's sessions, or when he was last seen, after the last coming or going
	seenField     = "*seen"
	noDevice      = "-"
	pipelineCalls = 500 // that are written before their replies are read
)

// connection is an entry of a user's sessions.
type connection struct {
	openedMS int64
	instance string
	device   string
}

func (c connection) String() string {
	return strconv.FormatInt(c.openedMS, 10) + " " + c.instance + " " + deviceWord(c.device)
}

func deviceWord(device string) string {
	if device == "" {
		return noDevice
	}
	return device
}

// connections reads a hash of conns; what is not a session is left out.
func connections(hash map[string]string) map[string]connection {
	found := make(map[string]connection, len(hash))
	for conn, value := range hash {
		fields := strings.Split(value, " ")
		if conn == seenField || len(fields) != 3 {
			continue
		}
		opened, _ := strconv.ParseInt(fields[0], 10, 64)
		c := connection{openedMS: opened, instance: fields[1]}
		if fields[2] != noDevice {
			c.device = fields[2]
		}
		found[conn] = c
	}
	return found
}

// Enter lets a session in; see domain.SessionStore.
func (s *Store) Enter(ctx context.Context, session domain.Session, policy domain.SessionPolicy) (domain.Admission, error) {
	dead, err := s.deadBeside(ctx, session)
	if err != nil {
		return domain.Admission{}, fmt.Errorf("%w: %w", domain.ErrNotEntered, err)
	}
	p := s.cfg.Partitions.Of(session.User)
	keys := []string{connsKey(p, session.User), atKey(p, session.Instance), notesKey(p, session.User)}
	args := []any{
		session.User, session.Conn, session.Instance, deviceWord(session.Device),
		string(policy), domain.MaxSessions, sessionTTL.Milliseconds(),
		userChannel(p, session.User), notesKept, notesTTL.Milliseconds(), domain.CloseReplaced, domain.ReplacedReason,
	}
	reply, err := s.run(ctx, enterScript, keys, append(args, dead...)...).StringSlice()
	if err != nil {
		return domain.Admission{}, fmt.Errorf("enter %s: %w", session.User, err)
	}
	switch {
	case len(reply) == 1 && reply[0] == "ONLINE":
		return domain.Admission{}, domain.Errorf(domain.CodeAlreadyOnline, "you are connected elsewhere")
	case len(reply) == 3:
		opened, err := strconv.ParseInt(reply[2], 10, 64)
		if err != nil {
			return domain.Admission{}, fmt.Errorf("enter %s: %w", session.User, err)
		}
		return domain.Admission{LastNote: reply[1], First: reply[0] == "FIRST", OpenedMS: opened}, nil
	}
	return domain.Admission{}, fmt.Errorf("enter %s: script answered %q", session.User, reply)
}

// Leave takes a session out; see domain.SessionStore. Most take one round trip: whether other instances live is only
// asked when nothing else is left, and if none of them does, their sessions are taken out too.
func (s *Store) Leave(ctx context.Context, session domain.Session) (last bool, err error) {
	p := s.cfg.Partitions.Of(session.User)
	keys := []string{connsKey(p, session.User), atKey(p, session.Instance)}
	args := []any{session.User, session.Conn, session.Instance, sessionTTL.Milliseconds()}
	for {
		reply, err := s.run(ctx, leaveScript, keys, args...).StringSlice()
		if err != nil {
			return false, fmt.Errorf("leave %s: %w", session.User, err)
		}
		if reply[0] != "ELSEWHERE" {
			return reply[0] == "LAST", nil
		}
		alive, err := s.aliveAmong(ctx, reply[1:])
		if err != nil {
			return false, err
		}
		for _, instance := range reply[1:] {
			if alive[instance] {
				return false, nil
			}
			args = append(args, instance) // dead
		}
	}
}

// deadBeside lists the dead instances among those that the user has sessions on. Whose session it is lives,
// whether it could announce that or not.
func (s *Store) deadBeside(ctx context.Context, session domain.Session) (dead []any, err error) {
	p := s.cfg.Partitions.Of(session.User)
	hash, err := s.rdb.HGetAll(ctx, connsKey(p, session.User)).Result()
	if err != nil {
		return nil, fmt.Errorf("sessions of %s: %w", session.User, err)
	}
	var others []string
	for _, c := range connections(hash) {
		if c.instance != session.Instance {
			others = append(others, c.instance)
		}
	}
	alive, err := s.aliveAmong(ctx, others)
	if err != nil {
		return nil, err
	}
	for _, instance := range others {
		if !alive[instance] {
			dead = append(dead, instance)
		}
	}
	return dead, nil
}

// Presence tells of each user whether he is there.
func (s *Store) Presence(ctx context.Context, users []string) (map[string]domain.Presence, error) {
	if len(users) == 0 {
		return nil, nil
	}
	hashes, alive, err := s.connectionsOf(ctx, users)
	if err != nil {
		return nil, err
	}
	found := make(map[string]domain.Presence, len(users))
	for user, hash := range hashes {
		found[user] = presence(hash, alive)
	}
	return found, nil
}

// SessionsOf lists the sessions that users have on living instances.
func (s *Store) SessionsOf(ctx context.Context, users []string) (found map[string][]domain.Session, err error) {
	found = make(map[string][]domain.Session)
	for chunk := range slices.Chunk(users, pipelineCalls) {
		hashes, alive, err := s.connectionsOf(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for user, hash := range hashes {
			for conn, c := range connections(hash) {
				if alive[c.instance] {
					found[user] = append(found[user], domain.Session{
						Conn: conn, User: user, Device: c.device, Instance: c.instance, OpenedMS: c.openedMS,
					})
				}
			}
		}
	}
	return found, nil
}

// connectionsOf reads the hashes of users, and which of the instances in them live.
func (s *Store) connectionsOf(ctx context.Context, users []string) (hashes map[string]map[string]string, alive map[string]bool, err error) {
	pipe := s.rdb.Pipeline()
	cmds := make(map[string]*redis.MapStringStringCmd, len(users))
	for _, user := range users {
		cmds[user] = pipe.HGetAll(ctx, connsKey(s.cfg.Partitions.Of(user), user))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, nil, fmt.Errorf("sessions of %d users: %w", len(users), err)
	}
	hashes = make(map[string]map[string]string, len(users))
	var instances []string
	for user, cmd := range cmds {
		hashes[user] = cmd.Val()
		for _, c := range connections(cmd.Val()) {
			instances = append(instances, c.instance)
		}
	}
	alive, err = s.aliveAmong(ctx, instances)
	return hashes, alive, err
}

func presence(hash map[string]string, alive map[string]bool) domain.Presence {
	var p domain.Presence
	devices := make(map[string]bool)
	for _, c := range connections(hash) {
		if !alive[c.instance] {
			continue
		}
		p.Online = true
		if c.device != "" {
			devices[c.device] = true
		}
	}
	p.Devices = slices.Sorted(maps.Keys(devices))
	if !p.Online {
		p.LastSeenMS, _ = strconv.ParseInt(hash[seenField], 10, 64)
	}
	return p
}

// DeadInstances lists the instances that no longer announce themselves and were not swept since.
func (s *Store) DeadInstances(ctx context.Context) (dead []string, err error) {
	instances, err := s.rdb.SMembers(ctx, instancesKey()).Result()
	if err != nil {
		return nil, fmt.Errorf("list instances: %w", err)
	}
	alive, err := s.aliveAmong(ctx, instances)
	if err != nil {
		return nil, err
	}
	for _, instance := range instances {
		if !alive[instance] {
			dead = append(dead, instance)
		}
	}
	return dead, nil
}

// Sweep takes out the sessions of a dead instance and returns the users who have none left by that. A user is
// returned by one sweeper only, however many sweep; also beside an error. An instance that was thought dead and
// comes back learns by its next announcement that it has been forgotten: the last step here sees to it.
func (s *Store) Sweep(ctx context.Context, instance string) (gone []string, err error) {
	for p := range int(s.cfg.Partitions) {
		swept, err := s.sweepPartition(ctx, p, instance)
		gone = append(gone, swept...)
		if err != nil {
			return gone, fmt.Errorf("sweep partition %d of %s: %w", p, instance, err)
		}
	}
	if err := s.rdb.SRem(ctx, instancesKey(), instance).Err(); err != nil {
		return gone, fmt.Errorf("forget instance %s: %w", instance, err)
	}
	return gone, nil
}

func (s *Store) sweepPartition(ctx context.Context, p int, instance string) (gone []string, err error) {
	for cursor, first := uint64(0), true; first || cursor != 0; first = false {
		var users []string
		if users, cursor, err = s.rdb.SScan(ctx, atKey(p, instance), cursor, "", pipelineCalls).Result(); err != nil {
			return gone, err
		}
		calls := make([]scriptCall, len(users))
		for i, user := range users {
			calls[i] = scriptCall{
				keys: []string{connsKey(p, user), atKey(p, instance)},
				args: []any{user, instance, sessionTTL.Milliseconds()},
			}
		}
		cmds, err := s.runEach(ctx, sweepScript, calls)
		for i, c := range cmds {
			if c.Val() == "GONE" {
				gone = append(gone, users[i])
			}
		}
		if err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// Restore writes sessions again that Redis has lost; those that it knows stay as they are. back are users who were
// seen to go before, and are there: when they were seen stays, so that a repeat whose first reply was lost names them
// too.
func (s *Store) Restore(ctx context.Context, sessions []domain.Session) (back []string, err error) {
	gone := make(map[string]bool)
	for chunk := range slices.Chunk(sessions, pipelineCalls) {
		pipe := s.rdb.Pipeline()
		seen := make([]*redis.BoolCmd, len(chunk))
		for i, session := range chunk {
			p := s.cfg.Partitions.Of(session.User)
			conns, at := connsKey(p, session.User), atKey(p, session.Instance)
			c := connection{openedMS: session.OpenedMS, instance: session.Instance, device: session.Device}
			pipe.HSetNX(ctx, conns, session.Conn, c.String())
			pipe.PExpire(ctx, conns, sessionTTL)
			pipe.SAdd(ctx, at, session.User)
			pipe.PExpire(ctx, at, sessionTTL)
			seen[i] = pipe.HExists(ctx, conns, seenField) // last: who is swept before the first would be missed
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("restore %d sessions: %w", len(sessions), err)
		}
		for i, session := range chunk {
			if seen[i].Val() {
				gone[session.User] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(gone)), nil
}
