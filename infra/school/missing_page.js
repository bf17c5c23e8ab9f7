// Runs at CloudFront for each request to the site, before the cache (CloudFront Functions, runtime cloudfront-js-2.0).
// A file that the site does not have is answered here. A custom error response would hold for the whole distribution and
// replace the API's JSON answers of the same status, too.
const FILES = $FILES;
const HEADERS = $HEADERS;
const PAGE = $PAGE;

function handler(event) {
  const request = event.request;
  if (request.uri === '/' || FILES.includes(request.uri)) {
    return request;
  }
  return {
    statusCode: 404,
    statusDescription: 'Not Found',
    headers: HEADERS,
    body: { encoding: 'text', data: PAGE },
  };
}
