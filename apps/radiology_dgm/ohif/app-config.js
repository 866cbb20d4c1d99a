// Configuration of OHIF: the archive behind this server, our extension, and no dialogs before the first box.
window.config = {
  routerBasename: '/ohif', // without a slash at the end: OHIF 3.13 does not know its login's callback otherwise
  ...(window.monaiDgmLogin && {
    oidc: [
      {
        ...window.monaiDgmLogin,
        response_type: 'code', // with PKCE
        scope: 'openid profile',
        redirect_uri: '/callback',
        post_logout_redirect_uri: '/',
        automaticSilentRenew: true, // by the refresh token
        revokeAccessTokenOnSignout: false,
      },
    ],
  }),
  extensions: [window.monaiDgm.extension],
  modes: [],
  // our panel is the first one at the right and open; on a narrow window the list of series is closed
  modesConfiguration: {
    '@ohif/mode-longitudinal': {
      routes: {
        0: {
          layoutInstance: {
            props: {
              rightPanels: { $unshift: ['monai-dgm.panelModule.reading'] },
              rightPanelClosed: { $set: false },
              leftPanelClosed: { $set: window.innerWidth < 1200 },
            },
          },
        },
      },
    },
  },
  showStudyList: true,
  maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  showErrorDetails: 'always',
  investigationalUseDialog: { option: 'never' }, // the status line shows the warning at all times
  disableConfirmationPrompts: true,
  measurementTrackingMode: 'simplified', // rectangles are tracked without a dialog
  customizationService: [{ 'ohif.tours': { $set: [] } }],
  defaultDataSourceName: 'dicomweb',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'dicomweb',
      configuration: {
        friendlyName: 'PACS of the label app',
        name: 'dicomweb',
        wadoUriRoot: '/dicom-web',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        qidoSupportsIncludeField: true,
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        supportsFuzzyMatching: true,
        supportsWildcard: true,
        singlepart: 'bulkdata,video',
        bulkDataURI: { enabled: true, relativeResolution: 'studies' },
        omitQuotationForMultipartRequest: true,
      },
    },
  ],
};
