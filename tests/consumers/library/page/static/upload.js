// One upload. XMLHttpRequest, because fetch does not tell how far a request's body is.

export function upload(url, file, { headers, onProgress }) {
  const request = new XMLHttpRequest();
  const outcome = new Promise((resolve) => {
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total, event.loaded);
    request.upload.onload = () => onProgress(1, file.size);
    request.onload = () => resolve(answered(request));
    request.onerror = () => resolve({ outcome: "broken", status: 0, retryable: true });
    request.onabort = () => resolve({ outcome: "cancelled", status: 0 });
  });
  request.open("POST", url);
  request.responseType = "text";
  for (const [name, value] of Object.entries({ accept: "application/json", ...headers })) {
    request.setRequestHeader(name, value);
  }
  const form = new FormData();
  form.append("file", file);
  request.send(form);
  return { outcome, cancel: () => request.abort() };
}

function answered({ status, responseText }) {
  const document = parsed(responseText);
  if (status >= 200 && status < 300 && document) return { outcome: "success", status, document };
  return { outcome: "refused", status, problem: document ?? {}, retryable: status >= 500 || status === 409 };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
