package httpapi

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"hearth/domain"
	"hearth/transport/wire"
)

// getUpload serves an upload, in such a way that no browser runs anything of it.
func (a *api) getUpload(w http.ResponseWriter, r *http.Request) {
	key, name, attributes, err := a.findUpload(r)
	if err != nil {
		a.logFailure(r.Context(), err)
		WriteError(w, err)
		return
	}
	takes := transferTime(attributes.Size)
	ctx, cancel := context.WithTimeout(r.Context(), takes)
	defer cancel()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(takes)) // not every ResponseWriter has deadlines
	if strings.Contains(r.Header.Get("Range"), ",") {                         // each range would open the blob once more: thousands fit in a header
		r.Header.Del("Range")
	}
	h := w.Header()
	if _, ok := inlineTypes[attributes.ContentType]; ok {
		h.Set("Content-Type", attributes.ContentType)
	} else {
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	}
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cache-Control", "private, max-age=31536000, immutable") // a key never gets other bytes
	h.Set("ETag", `"`+key+`"`)
	from := &stored{ctx: ctx, bucket: a.Uploads.Bucket, key: key, size: attributes.Size}
	defer from.close()
	http.ServeContent(&rangeProblems{ResponseWriter: w}, r, "", attributes.ModTime, from)
	if from.err != nil { // the answer has begun: it is cut off, and only the log can tell why
		a.logFailure(r.Context(), bucketFailed(from.err, key))
	}
}

func (a *api) findUpload(r *http.Request) (key, name string, attributes *blob.Attributes, err error) {
	if a.Uploads.Bucket == nil {
		return "", "", nil, noUploads()
	}
	key, name, ok := wire.SplitUploadPath(r.URL.Path)
	if !ok {
		return "", "", nil, noUpload()
	}
	ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
	defer cancel()
	attributes, err = a.Uploads.Bucket.Attributes(ctx, key)
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound:
		return "", "", nil, noUpload()
	case err != nil:
		return "", "", nil, bucketFailed(err, key)
	case attributes.Metadata[uploadNameKey] != name:
		return "", "", nil, noUpload() // or anybody could give the file another name and hand that on
	}
	return key, name, attributes, nil
}

// stored reads a blob from wherever it is asked to. It opens the blob at the first byte that is read: HEAD, and who has
// the bytes already, need none.
type stored struct {
	ctx    context.Context
	bucket *blob.Bucket
	key    string
	size   int64
	at     int64
	open   *blob.Reader
	err    error // why reading ended before the end
}

func (s *stored) Read(p []byte) (n int, err error) {
	defer func() {
		if err != nil && !errors.Is(err, io.EOF) {
			s.err = err
		}
	}()
	if s.open == nil {
		if s.open, err = s.bucket.NewRangeReader(s.ctx, s.key, s.at, -1, nil); err != nil {
			return 0, err
		}
	}
	n, err = s.open.Read(p)
	s.at += int64(n)
	return n, err
}

func (s *stored) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of an upload")
	}
	if offset != s.at {
		s.close()
	}
	s.at = offset
	return offset, nil
}

func (s *stored) close() {
	if s.open != nil {
		_ = s.open.Close() // of a reader
		s.open = nil
	}
}

// rangeProblems says the error that http.ServeContent has for a range as the other errors are said.
type rangeProblems struct {
	http.ResponseWriter
	refused bool
}

func (w *rangeProblems) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Del("Content-Disposition")
	WriteError(w.ResponseWriter, withStatus(status, domain.Errorf(domain.CodeBadRequest, "the upload has no such range")))
}

func (w *rangeProblems) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}
