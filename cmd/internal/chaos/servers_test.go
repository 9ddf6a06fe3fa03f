package chaos

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"hearth/domain/testserver"
)

// startReplica gives Redis a replica, linked through a proxy.
func (s *stack) startReplica() {
	s.t.Helper()
	s.replica = testserver.StartRedis(s.t, appendOnly...)
	s.link = testserver.NewProxy(s.t, s.redis.Addr())
	s.follow()
}

// follow makes the replica one of the master, and waits until it has everything.
func (s *stack) follow() {
	s.t.Helper()
	s.link.Lead(s.redis.Addr())
	s.replicaOf(s.replica, s.link.Addr())
	s.awaitLinked(s.replica)
}

func (s *stack) awaitLinked(replica *testserver.Server) {
	s.t.Helper()
	c := s.client(replica)
	await(s.t, patience, "the replica is linked", func() (bool, any) {
		info, err := c.Info(context.Background(), "replication").Result()
		return strings.Contains(info, "master_link_status:up"), fmt.Sprint(info, err)
	})
}

// replicaOf is REPLICAOF; with an empty address a promotion.
func (s *stack) replicaOf(server *testserver.Server, master string) {
	s.t.Helper()
	host, port := "NO", "ONE"
	if master != "" {
		host, port, _ = net.SplitHostPort(master)
	}
	if err := s.client(server).ReplicaOf(context.Background(), host, port).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// lead leads instances to another Redis; what they had open is cut.
func (s *stack) lead(to *testserver.Server, instances ...*instance) {
	for _, i := range instances {
		i.redis.Lead(to.Addr())
		i.redis.Links().Cut()
	}
}

// swap makes the replica the master, and the former master, emptied, its replica.
func (s *stack) swap() {
	s.t.Helper()
	s.must(s.redis.Kill())
	s.redis, s.replica = s.replica, s.redis
	s.must(emptyFolder(s.replica.Dir()))
	s.must(s.replica.Restart())
	s.follow()
}

func (s *stack) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// emptyFolder deletes what Redis keeps.
func emptyFolder(dir string) error {
	return os.RemoveAll(filepath.Join(dir, "appendonlydir"))
}

// startSentinels starts a master with a replica, and three sentinels who watch them.
func (s *stack) startSentinels() {
	s.t.Helper()
	s.redis = testserver.StartRedis(s.t, appendOnly...)
	s.replica = testserver.StartRedis(s.t, appendOnly...)
	s.replicaOf(s.replica, s.redis.Addr())
	s.awaitLinked(s.replica)
	_, port, _ := net.SplitHostPort(s.redis.Addr())
	var addrs []string
	for range 3 {
		dir := s.t.TempDir()
		conf := filepath.Join(dir, "sentinel.conf")
		text := "sentinel monitor main 127.0.0.1 " + port + " 2\n" +
			"sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 6000\n"
		s.must(os.WriteFile(conf, []byte(text), 0o600))
		sentinel, err := testserver.LaunchSentinel(dir, conf)
		s.must(err)
		s.t.Cleanup(func() { _ = sentinel.Kill() })
		s.nodes = append(s.nodes, sentinel)
		addrs = append(addrs, sentinel.Addr())
	}
	for _, addr := range addrs {
		c := redis.NewSentinelClient(&redis.Options{Addr: addr})
		await(s.t, patience, "the sentinels know each other and the replica", func() (bool, any) {
			others, err := c.Sentinels(context.Background(), "main").Result()
			replicas, _ := c.Replicas(context.Background(), "main").Result()
			return len(others) == 2 && len(replicas) == 1, fmt.Sprint(len(others), len(replicas), err)
		})
		_ = c.Close()
	}
	s.env = map[string]string{
		"HEARTH_REDIS_MODE": "sentinel", "HEARTH_REDIS_SENTINEL_MASTER": "main", "HEARTH_REDIS_ADDRS": strings.Join(addrs, ","),
	}
}

// masterNow is the master by what a sentinel says.
func (s *stack) masterNow() string {
	c := redis.NewSentinelClient(&redis.Options{Addr: s.nodes[0].Addr()})
	defer c.Close()
	addr, err := c.GetMasterAddrByName(context.Background(), "main").Result()
	if err != nil || len(addr) != 2 {
		return fmt.Sprint("unknown: ", err)
	}
	return net.JoinHostPort(addr[0], addr[1])
}

// startCluster starts three masters with a replica each: node n has the replica n+3.
func (s *stack) startCluster() {
	s.t.Helper()
	ctx := context.Background()
	var clients []*redis.Client
	var addrs []string
	for range 6 {
		node := testserver.StartRedis(s.t, append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "1500"}, appendOnly...)...)
		s.nodes = append(s.nodes, node)
		clients = append(clients, s.client(node))
		addrs = append(addrs, node.Addr())
	}
	host, port, _ := net.SplitHostPort(addrs[0])
	for n, c := range clients {
		s.must(c.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", n+1).Err()) // as long as a node is alone
		s.must(c.ClusterMeet(ctx, host, port).Err())
		if n < 3 {
			s.must(c.ClusterAddSlotsRange(ctx, n*16384/3, (n+1)*16384/3-1).Err())
		}
	}
	for n := 3; n < 6; n++ {
		id, err := clients[n-3].ClusterMyID(ctx).Result()
		s.must(err)
		await(s.t, patience, "a node knows its master", func() (bool, any) {
			err := clients[n].ClusterReplicate(ctx, id).Err()
			return err == nil, err
		})
	}
	for _, c := range clients {
		await(s.t, patience, "the cluster is whole", func() (bool, any) {
			info, err := c.ClusterInfo(ctx).Result()
			nodes, _ := c.ClusterNodes(ctx).Result()
			return strings.Contains(info, "cluster_state:ok") && strings.Count(nodes, "slave") == 3, fmt.Sprint(info, err)
		})
	}
	for n := 3; n < 6; n++ {
		s.awaitLinked(s.nodes[n])
	}
	s.env = map[string]string{"HEARTH_REDIS_MODE": "cluster", "HEARTH_REDIS_ADDRS": strings.Join(addrs[:3], ",")}
}

// tape keeps copies of a Redis' append-only files, so that they can be put back as they were a while ago: what the disk
// has after the machine lost its power.
type tape struct {
	dir    string // the server's
	mu     sync.Mutex
	copies []tapeCopy // oldest first
	cancel context.CancelFunc
	done   chan struct{}
}

type tapeCopy struct {
	at    time.Time
	files map[string][]byte
}

const (
	tapeEvery = 250 * time.Millisecond
	powerLoss = time.Second // what appendfsync everysec may lose
)

func startTape(dir string) *tape {
	ctx, cancel := context.WithCancel(context.Background())
	t := &tape{dir: filepath.Join(dir, "appendonlydir"), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		for ctx.Err() == nil {
			t.record()
			pause(ctx, tapeEvery)
		}
	}()
	return t
}

func (t *tape) record() {
	c := tapeCopy{at: time.Now(), files: make(map[string][]byte)}
	names, _ := os.ReadDir(t.dir) // empty: nothing is written yet
	for _, name := range names {
		if text, err := os.ReadFile(filepath.Join(t.dir, name.Name())); err == nil {
			c.files[name.Name()] = text
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.copies = append(t.copies, c)
	if len(t.copies) > 20 {
		t.copies = t.copies[1:]
	}
}

// restore puts the files back as they were powerLoss ago, or longer. The server must not run.
func (t *tape) restore() error {
	t.cancel()
	<-t.done
	for n := len(t.copies) - 1; n >= 0; n-- {
		c := t.copies[n]
		if time.Since(c.at) < powerLoss {
			continue
		}
		if err := os.RemoveAll(t.dir); err != nil {
			return err
		}
		if err := os.MkdirAll(t.dir, 0o700); err != nil {
			return err
		}
		for name, text := range c.files {
			if err := os.WriteFile(filepath.Join(t.dir, name), text, 0o600); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no copy of %s is older than %v", t.dir, powerLoss)
}
