package mysqlrepo

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
)

// dialTimeout holds unless the DSN says otherwise.
const dialTimeout = 5 * time.Second

// reachTimeout is how long a server may take to answer for the first time: one that hangs takes connections and says nothing.
const reachTimeout = 20 * time.Second

// The server ends a session that is silent for silentSeconds, and with it the transaction of an instance that stands still
// or is cut off in the middle of it: others need what it has locked, not least to begin a generation without it. They
// wait as long for its heartbeat (liveMS). The pool lets idle connections go before.
const (
	silentSeconds = liveMS / 1000
	maxIdleTime   = 3 * time.Second
)

// Open connects to MySQL or MariaDB and makes sure that it answers. It starts nothing but the pool.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	connector, err := newConnector(cfg.DSN)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(cfg.MaxOpen)
	pool.SetMaxIdleConns(cfg.MaxIdle)
	pool.SetConnMaxLifetime(cfg.ConnLifetime)
	pool.SetConnMaxIdleTime(maxIdleTime)
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	return newDB(ctx, pool, &mysqlDialect, cfg)
}

// errDSN stands for what the driver says: that may quote the DSN, and with it the password.
var errDSN = errors.New("mysql: the DSN is not of the form user:password@tcp(host:port)/database?param=value")

func newConnector(dsn string) (driver.Connector, error) {
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil || cfg.DBName == "" {
		return nil, errDSN
	}
	if err := cfg.Apply(mysql.Charset("utf8mb4", "utf8mb4_bin")); err != nil {
		return nil, fmt.Errorf("mysql: set the character set: %w", err)
	}
	cfg.ClientFoundRows = false  // InsertMessages learns from affected rows which ones were there
	cfg.InterpolateParams = true // one round trip a statement instead of two
	cfg.MultiStatements = false
	cfg.ParseTime = true // goose's lock needs it; hearth keeps times as numbers
	cfg.Logger = &mysql.NopLogger{}
	if cfg.Timeout == 0 {
		cfg.Timeout = dialTimeout
	}
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	// Whatever the server's defaults are: refuse what does not fit instead of cutting it, and escape as the
	// driver does. A lock that is not had within 10 s is a reason to start again.
	cfg.Params["sql_mode"] = "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
	cfg.Params["innodb_lock_wait_timeout"] = "10"
	cfg.Params["wait_timeout"] = strconv.Itoa(silentSeconds)
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, errDSN
	}
	return readCommitted{connector}, nil
}

// readCommitted makes sessions read what is committed at each statement, without gap locks. It is a statement of
// its own because MySQL and MariaDB do not agree on the variable's name.
type readCommitted struct{ driver.Connector }

func (c readCommitted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	_, err = conn.(driver.ExecerContext).ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}
